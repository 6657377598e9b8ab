"""Ten times as many submits as the fleet can do, and one tenant with ten thousand jobs before another's."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.chaos.rows import Row, at_least, at_most, counted, exactly, scaled
from tests.support.equal_requests import make_keys
from tests.support.jobs import audit
from tests.support.steady import percentile, questions, warm_up
from tests.support.waiting import eventually
from tests.support.wall import PREFIX, Given, Wall

LIMIT_S = 600.0
CAPACITY = 20
"""Jobs a second: so many calls at once, each of a second."""
DEADLINE_S = 6.0
TIMES, OVERLOAD_S, PEAK_S, CALM_S, AFTER_S = 10, 120, 20, 10, 45
RECOVERED_WITHIN_S, WINDOW_S, WARMING_S = 30.0, 3.0, 4.0
NOISY_JOBS, QUIET_RATE, QUIET_S = 10_000, 2, 60
CONNECTIONS = 24
SLOW = "a-second"
PROVIDERS = (Given(name="slow", timeout_s=30, profile={"latency_s": 1.0}),)
CANDIDATES = [one.target for one in PROVIDERS]
UNAUTHORIZED = 401
LIMITS = {"queued_per_tenant": 200, "queued": 400, "queue_age_s": 30}


def run(scale: float) -> Sequence[Row]:
    """Run both at this scale: the overload for 2 minutes, the other tenant beside 10,000 jobs."""
    return [*overload(scale), *noisy_tenant(scale)]


def overload(scale: float) -> list[Row]:
    """Offer a fleet ten times what it can do, all with a deadline that a long line would pass."""
    with _fleet(LIMITS) as wall:
        return overload_of(wall, scale)


def overload_of(wall: Wall, scale: float, *, capacity: float = CAPACITY) -> list[Row]:
    """Do that to a running fleet that does `capacity` jobs a second."""
    phases = (
        ("calm", capacity / 2, max(3.0, CALM_S * scale)),
        ("peak", 1.25 * capacity, max(7.0, PEAK_S * scale)),
        ("overload", TIMES * capacity, max(8.0, OVERLOAD_S * scale)),
        ("after", capacity / 2, max(9.0, AFTER_S * scale)),
    )
    found = asyncio.run(_offer(wall.url, phases))
    ended = _ended(wall, [sent.id for sent in found.sent if sent.id])
    with wall.client() as client:
        wrong = audit(client)
    return [*_judged(found, ended), exactly("overload: contradictions in the store", wrong, [])]


def noisy_tenant(scale: float) -> list[Row]:
    """Put ten thousand jobs of one tenant in line, then let another submit a few."""
    with _fleet({"queued_per_tenant": 20_000}) as wall:
        return noise_on(wall, scale, jobs=scaled(NOISY_JOBS, scale, least=400))


def noise_on(wall: Wall, scale: float, *, jobs: int, rate: float = QUIET_RATE) -> list[Row]:
    """Do that to a running fleet; the other tenant submits `rate` jobs a second."""
    waits_s, waiting = asyncio.run(_beside(wall, jobs, rate, max(5.0, QUIET_S * scale)))
    return [
        at_least("noisy tenant: its jobs that still wait at the end", waiting, 1),
        at_most("noisy tenant: p95 of another tenant's wait", percentile(waits_s, 0.95), 2.0, unit="s"),
        counted("noisy tenant: most of another tenant's waits", f"{max(waits_s):.2f} s of {len(waits_s)} jobs"),
    ]


@contextmanager
def _fleet(limits: dict[str, Any]) -> Iterator[Wall]:
    """Run a fleet that does CAPACITY jobs a second, and no more."""
    with Wall(providers=PROVIDERS, settings={"limits": limits, "models": {SLOW: CANDIDATES}}) as wall:
        wall.start(workers=1, AI_PROVIDER_WORKER_CONCURRENCY=str(CAPACITY))
        warm_up(wall.url, jobs=20, model=SLOW)
        yield wall


@dataclass
class Sent:
    """A submit: when it was due (seconds from the start), its phase, its answer and how long that took."""

    phase: str
    at_s: float
    status: int = 0
    took_ms: float = math.nan
    id: str = ""
    code: str = ""
    retry_after_s: int = 0


@dataclass
class Offered:
    """All submits, when each phase began and ended (seconds from the start), and when the start was (ms since 1970)."""

    began_ms: float
    sent: list[Sent] = field(default_factory=list)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)


async def _offer(url: str, phases: Sequence[tuple[str, float, float]]) -> Offered:
    """Submit in an open loop, each at its time, however the others fare."""
    body, found, at_s = questions(SLOW), Offered(time.time() * 1000), 0.0
    for name, rate, seconds in phases:
        found.sent += [Sent(name, at_s + number / rate) for number in range(round(rate * seconds))]
        found.spans[name] = (at_s, at_s + seconds)
        at_s += seconds
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        began = time.monotonic()

        async def send(number: int, sent: Sent) -> None:
            await asyncio.sleep(max(0, began + sent.at_s - time.monotonic()))
            await _send(session, {**body(number), "deadline_s": DEADLINE_S}, sent)

        await asyncio.gather(*(send(number, sent) for number, sent in enumerate(found.sent)))
    return found


async def _send(session: aiohttp.ClientSession, body: dict[str, Any], sent: Sent) -> None:
    before = time.perf_counter()
    try:
        async with session.post("/api/v1/completion", json=body) as answer:
            told = await answer.json()
            sent.status, sent.id = answer.status, told.get("id", "")
            sent.code = told.get("code", "")
            sent.retry_after_s = int(answer.headers.get("Retry-After", 0))
    except (aiohttp.ClientError, TimeoutError) as exc:
        sent.code = type(exc).__name__
    sent.took_ms = 1000 * (time.perf_counter() - before)


@dataclass(frozen=True)
class End:
    """How a job ended, and when it was submitted and ended (ms since 1970)."""

    state: str
    created_ms: float
    finished_ms: float


def _ended(wall: Wall, ids: Sequence[str]) -> dict[str, End]:
    """Return the ends of the jobs once all have ended: their deadlines are short."""
    deadline = time.monotonic() + 30
    while True:
        with wall.client() as client:
            pipe = client.pipeline(transaction=False)
            for job_id in ids:
                pipe.hmget(f"{PREFIX}:job:{job_id}", "state", "created", "finished")
            rows = pipe.execute()
        if all(row[2] for row in rows):
            return {
                job_id: End(row[0].decode(), float(row[1]), float(row[2]))
                for job_id, row in zip(ids, rows, strict=True)
            }
        if time.monotonic() > deadline:
            raise AssertionError(f"{sum(not row[2] for row in rows)} of {len(rows)} jobs have not ended")
        time.sleep(0.2)


def _judged(found: Offered, ended: dict[str, End]) -> list[Row]:
    completed_s = sorted(
        (end.finished_ms - found.began_ms) / 1000 for end in ended.values() if end.state == "completed"
    )

    def goodput(phase: str) -> float:
        start, end = found.spans[phase]
        return sum(start + WARMING_S <= at < end for at in completed_s) / (end - start - WARMING_S)

    peak, under = goodput("peak"), goodput("overload")
    rejected = [sent for sent in found.sent if sent.status in {429, 503}]
    in_time = [sent for sent in found.sent if sent.phase == "overload"]
    taken = [ended[sent.id].state for sent in in_time if sent.id]
    other = Counter(sent.code or str(sent.status) for sent in found.sent if sent.status not in {202, 429, 503})
    return [
        counted("overload: peak", f"{peak:.1f} jobs/s"),
        at_least("overload: goodput, of the peak", under / peak if peak else math.nan, 0.9),
        counted("overload: submits, refused", f"{len(in_time)}, {dict(Counter(sent.code for sent in rejected))}"),
        counted("overload: ends of what was let in", dict(Counter(taken))),
        exactly("overload: other answers", dict(other), {}),
        at_most("overload: p99 of refusals", percentile((sent.took_ms for sent in rejected), 0.99), 50, unit="ms"),
        exactly("overload: refusals without Retry-After", sum(not 1 <= one.retry_after_s <= 60 for one in rejected), 0),
        at_most("overload: recovered after", _recovered_s(found, ended), RECOVERED_WITHIN_S, unit="s"),
    ]


def _recovered_s(found: Offered, ended: dict[str, End]) -> float:
    """Return the seconds from the overload's end until, for WINDOW_S, all is let in and takes as long as in the calm."""

    def took_s(sent: Sent) -> float:
        end = ended.get(sent.id)
        return math.inf if end is None or end.state != "completed" else (end.finished_ms - end.created_ms) / 1000

    usual_s = percentile((took_s(sent) for sent in found.sent if sent.phase == "calm"), 0.95)
    start, _ = found.spans["after"]
    later = [(sent.at_s, took_s(sent)) for sent in found.sent if sent.phase == "after"]
    for at_s, _ in later:
        window = [took for at, took in later if at_s <= at < at_s + WINDOW_S]
        if percentile(window, 0.95) <= usual_s + 1.0:
            return at_s - start
    return math.inf


async def _beside(wall: Wall, jobs: int, rate: float, seconds: float) -> tuple[list[float], int]:
    """Return how long the quiet tenant's jobs waited for their claims, and how many noisy ones wait still."""
    noisy, quiet = [{"Authorization": f"Bearer {key}"} for key in await make_keys(wall, ("noisy", "quiet"))]
    async with aiohttp.ClientSession(wall.url, connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        await eventually(lambda: _asks_for_keys(session), what="the front door asks for keys")
        await _fill(session, jobs, noisy)
        ids = await _quietly(session, rate, seconds, quiet)
    with wall.client() as client:
        waiting = client.zcard(f"{PREFIX}:ready:normal:noisy")
        waits = [_wait_s(client.hmget(f"{PREFIX}:job:{job_id}", "created", "started")) for job_id in ids]
    return waits, waiting


async def _asks_for_keys(session: aiohttp.ClientSession) -> bool:
    async with session.get("/api/v1/jobs") as answer:
        return answer.status == UNAUTHORIZED


async def _fill(session: aiohttp.ClientSession, jobs: int, caller: dict[str, str]) -> None:
    """Submit the noisy tenant's jobs over a few connections."""
    body, numbers = questions(SLOW), iter(range(jobs))

    async def one_connection() -> None:
        for number in numbers:
            async with session.post("/api/v1/completion", json=body(number), headers=caller) as answer:
                assert answer.status == 202, await answer.text()

    await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))


async def _quietly(session: aiohttp.ClientSession, rate: float, seconds: float, caller: dict[str, str]) -> list[str]:
    """Submit a few jobs of another tenant, each at its time; return their ids once all have ended."""
    body, began, ids = questions(SLOW), time.monotonic(), []
    for number in range(round(seconds * rate)):
        await asyncio.sleep(max(0, began + number / rate - time.monotonic()))
        async with session.post("/api/v1/completion", json=body(number), headers=caller) as answer:
            assert answer.status == 202, await answer.text()
            ids.append((await answer.json())["id"])
    for job_id in ids:
        async with session.get(f"/api/v1/jobs/{job_id}?wait=30", headers=caller) as answer:
            assert (await answer.json())["status"] == "completed", await answer.text()
    return ids


def _wait_s(fields: Sequence[bytes | None]) -> float:
    created, started = fields
    return math.inf if created is None or started is None else (int(started) - int(created)) / 1000
