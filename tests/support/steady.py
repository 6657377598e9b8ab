"""A steady stream of jobs from outside, in an open loop: each is sent at its time, however the others fare; and what became of them."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

import aiohttp

COLLECTORS = 32
LONGEST_WAIT_S = 20
MOST_OF = 0.8  # of its usual share: a provider is back
Body = Callable[[int], dict[str, Any]]
_OWN = secrets.token_hex(4)
_STREAMS = count(1)


@dataclass(frozen=True, slots=True)
class Seen:
    """A job from outside. Instants are ms since 1970, by Redis."""

    id: str
    status: str
    code: str | None
    created_ms: float
    finished_ms: float | None
    cache: str | None
    attempts: tuple[Mapping[str, Any], ...]
    result: Mapping[str, Any] | None
    cost_usd: float | None
    saved_usd: float | None

    @property
    def total_ms(self) -> float:
        """Return how long it took from submit to end; infinity when it has not ended."""
        return math.inf if self.finished_ms is None else self.finished_ms - self.created_ms

    @property
    def provider(self) -> str | None:
        """Return who answered it."""
        return next((one["provider"] for one in reversed(self.attempts) if one["outcome"] == "ok"), None)

    @property
    def text(self) -> str:
        """Return what the answer says."""
        return str(self.result["choices"][0]["message"]["content"]) if self.result else ""


@dataclass
class Run:
    """A stretch of load and its jobs; `marks` are the instants (ms since 1970) at which something was done."""

    jobs: list[Seen]
    marks: dict[str, float]
    began_ms: float
    notes: dict[str, Any] = field(default_factory=dict)

    def between(self, start: str | float, end: str | float = math.inf) -> list[Seen]:
        """Return the jobs submitted between two marks or instants."""
        low, high = (self.marks[at] if isinstance(at, str) else at for at in (start, end))
        return [job for job in self.jobs if low <= job.created_ms < high]

    @property
    def unanswered(self) -> list[Seen]:
        """Return the jobs that did not end well."""
        return [job for job in self.jobs if job.status != "completed"]

    def failed_calls(self, provider: str) -> int:
        """Return the attempts at a provider that went wrong, as the jobs tell."""
        return sum(one["provider"] == provider and one["outcome"] != "ok" for job in self.jobs for one in job.attempts)

    def back_after_s(self, provider: str, *, since: str, usual: float, window_s: float = 2.0) -> float:
        """Return the seconds from a mark until a provider has four fifths of its usual share again; infinity: never."""
        start = self.marks[since]
        later = sorted(job.created_ms for job in self.between(since)) if usual > 0 else []
        for at in later:
            some = self.between(at, at + 1000 * window_s)
            if share(some, provider) >= MOST_OF * usual and len(some) >= window_s:
                return (at - start) / 1000
        return math.inf


def share(jobs: Sequence[Seen], provider: str) -> float:
    """Return the part of these jobs that a provider answered."""
    return sum(job.provider == provider for job in jobs) / max(1, len(jobs))


def percentile(values: Iterable[float], part: float) -> float:
    """Return the smallest value that a part of all does not exceed; nan of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else math.nan


def p95_ms(jobs: Iterable[Seen]) -> float:
    """Return the 95th percentile of the jobs' times."""
    return percentile((job.total_ms for job in jobs), 0.95)


def outcomes(jobs: Iterable[Seen]) -> dict[str, int]:
    """Return how many jobs ended how: status, with the error's code where there is one."""
    return dict(Counter(job.status if job.code is None else f"{job.status}:{job.code}" for job in jobs))


def questions(model: str = "m") -> Body:
    """Return bodies that no other stream of this run has, nor any other run: none is answered from a cache."""
    stream = next(_STREAMS)

    def question(number: int) -> dict[str, Any]:
        text = f"question {number} of stream {stream}, run {_OWN}"
        return {"model": model, "messages": [{"role": "user", "content": text}]}

    return question


async def run(
    url: str,
    *,
    rate: float,
    seconds: float,
    body: Body,
    moments: Sequence[tuple[float, str, Callable[[], Any]]] = (),
    headers: Mapping[str, str] | None = None,
    ended_within_s: float = 60,
) -> Run:
    """Submit `rate` jobs a second for some seconds; at each moment (seconds from the start, mark, action) do something.

    Raises:
        AssertionError: a submit was refused, or a job has not ended `ended_within_s` after the last was submitted.
    """
    marks: dict[str, float] = {}
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=timeout, headers=dict(headers or {})
    ) as session:
        began, began_ms = time.monotonic(), time.time() * 1000

        async def do(at: float, name: str, action: Callable[[], Any]) -> None:
            await asyncio.sleep(max(0, began + at - time.monotonic()))
            # The mark of what is done to the wall stands before it, so that no call of that phase is missed.
            marks[name] = time.time() * 1000
            await asyncio.to_thread(action)

        async def send(number: int) -> str:
            await asyncio.sleep(max(0, began + number / rate - time.monotonic()))
            return await submit(session, url, body(number))

        doing = [asyncio.create_task(do(*moment)) for moment in moments]
        ids = await asyncio.gather(*(send(number) for number in range(round(rate * seconds))))
        await asyncio.gather(*doing)
        jobs = await collect(session, url, ids, within_s=ended_within_s)
    return Run(jobs, marks, began_ms)


async def submit(session: aiohttp.ClientSession, url: str, body: dict[str, Any], **headers: str) -> str:
    """Submit one job and return its id."""
    async with session.post(f"{url}/api/v1/completion", json=body, headers=headers) as answer:
        assert answer.status in {200, 202}, await answer.text()
        return str((await answer.json())["id"])


async def collect(
    session: aiohttp.ClientSession,
    url: str,
    ids: Sequence[str],
    *,
    within_s: float,
    headers: Callable[[int], dict[str, str]] = lambda _: {},
) -> list[Seen]:
    """Return all jobs once they have ended, in order; those that have not ended in time as they are."""
    found: list[Seen | None] = [None] * len(ids)
    places = iter(range(len(ids)))
    deadline = time.monotonic() + within_s

    async def collector() -> None:
        for place in places:
            while True:
                wait = max(0, min(LONGEST_WAIT_S, int(deadline - time.monotonic())))
                async with session.get(f"{url}/api/v1/jobs/{ids[place]}?wait={wait}", headers=headers(place)) as answer:
                    seen = found[place] = _seen(await answer.json())
                if seen.finished_ms is not None or time.monotonic() >= deadline - 1:
                    break

    await asyncio.gather(*(collector() for _ in range(COLLECTORS)))
    return [one for one in found if one is not None]


def _seen(job: Mapping[str, Any]) -> Seen:
    return Seen(
        id=job["id"],
        status=job["status"],
        code=(job["error"] or {}).get("code"),
        created_ms=_ms(job["created_at"]) or 0,
        finished_ms=_ms(job["finished_at"]),
        cache=job["cache"],
        attempts=tuple(job["attempts"]),
        result=job["result"],
        cost_usd=job["cost_usd"],
        saved_usd=job["saved_usd"],
    )


def _ms(at: str | None) -> float | None:
    return None if at is None else datetime.fromisoformat(at).timestamp() * 1000


async def together(session: aiohttp.ClientSession, url: str, bodies: Sequence[dict[str, Any]]) -> list[str]:
    """Submit many jobs as nearly at once as can be; return their ids, in order."""
    made: list[Awaitable[str]] = [submit(session, url, body) for body in bodies]
    return list(await asyncio.gather(*made))


def warm_up(url: str, *, jobs: int = 40, model: str = "m") -> None:
    """Run some jobs at once, so that connections are open and every process has done everything once."""
    asyncio.run(run(url, rate=1_000, seconds=jobs / 1_000, body=questions(model)))
