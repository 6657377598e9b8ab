"""The guide's four claims, each with its measured figure: `python -m tests.benchmarks claims [repeat|health|checks|failover]`."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
import urllib.request
from collections.abc import Callable

import aiohttp

from tests.benchmarks.table import Table
from tests.support.enduring import ready
from tests.support.equal_requests import session_of
from tests.support.steady import Body, questions, run, warm_up
from tests.support.waiting import wait_for
from tests.support.wall import Given, Wall

REPEATS = 30
ANSWER_S = 0.8
LOOK_S = 0.85
PROVIDERS = 4
HEALTH_S = 90
ROUNDS, ROUNDS_WITHIN_S = 3, 60
HANG_TIMEOUT_S = 5.0
KNOWN_AFTER_S = 8.0
FIXED_CALLS = 5


def measure(*names: str) -> None:
    """Print each claim with its figure; all of them, or those named."""
    table = Table("The guide's claims", ["claim", "promised", "measured", ""])
    works: dict[str, Callable[[Table], None]] = {
        "repeat": _repeat, "health": _health, "checks": _checks, "failover": _failover,
    }  # fmt: skip
    try:
        for name in names or works:
            works[name](table)
    finally:
        table.show()


def _row(table: Table, claim: str, least: float, part: float, told: str) -> None:
    table.row(claim, f">= {least:.0%}", f"{part:.1%} ({told})", "kept" if part >= least else "BROKEN")


def _repeat(table: Table) -> None:
    """A request that was answered before, against its first time, through the whole service."""
    with Wall(providers=[Given(name="p1", profile={"latency_s": ANSWER_S})]) as wall:
        ready(wall, workers=2)
        body = questions()
        first, again = (asyncio.run(_waited(wall.url, body)) for _ in range(2))
    told = f"{first * 1000:.0f} ms, then {again * 1000:.0f} ms"
    _row(table, "a repeated request is faster", 0.9, 1 - again / first, told)


async def _waited(url: str, body: Body) -> float:
    """Return the median seconds of requests that wait for their answer, one after the other."""
    times = []
    async with session_of() as session:
        for number in range(REPEATS):
            before = time.perf_counter()
            headers = {"Prefer": "wait=30"}
            async with session.post(f"{url}/api/v1/completion", json=body(number), headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                await answer.read()
            times.append(time.perf_counter() - before)
    return statistics.median(times)


def _health_wall(interval_s: float) -> Wall:
    providers = [Given(name=f"p{number + 1}") for number in range(PROVIDERS)]
    return Wall(providers=providers, settings={"health": {"interval_s": interval_s, "timeout_s": 5}})


def _slow_looks(wall: Wall) -> None:
    wall.sandbox.set_faults({"match": {"path": "/v1/models"}, "action": {"latency_s": LOOK_S}})


def _health(table: Table) -> None:
    """Looks at the providers that one question of their health a second leads to, against a look at each."""
    with _health_wall(30) as wall:
        _slow_looks(wall)
        ready(wall, workers=1)
        wall.sandbox.control("DELETE", "counters")
        for _ in range(HEALTH_S):
            before = time.monotonic()
            with urllib.request.urlopen(f"{wall.url}/api/v1/providers/health", timeout=10) as answer:
                assert answer.status == 200
            time.sleep(max(0, 1 - (time.monotonic() - before)))
        looks = wall.sandbox.counters()["by_path"].get("/v1/models", 0)
    each = HEALTH_S * PROVIDERS
    told = f"{looks} looks, {each} without; {HEALTH_S} s at 1 request/s"
    _row(table, "health caching saves probe calls", 0.8, 1 - looks / each if looks else 0.0, told)


def _checks(table: Table) -> None:
    """A round of checks of four providers as the fleet makes it, against one look after the other."""
    with _health_wall(5) as wall:
        _slow_looks(wall)
        urls = [f"{url}/v1/models" for url in wall.urls.values()]
        one_by_one = asyncio.run(_looked(urls))
        wall.start(workers=1)
        together = _round_s(wall)
    told = f"{one_by_one:.2f} s one by one, {together:.2f} s the fleet's round"
    _row(table, "concurrent checks of four providers are faster", 0.7, 1 - together / one_by_one, told)


async def _looked(urls: list[str]) -> float:
    before = time.perf_counter()
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer any"}) as session:
        for url in urls:
            async with session.get(url) as answer:
                await answer.read()
    return time.perf_counter() - before


def _round_s(wall: Wall) -> float:
    """Return the median seconds of the fleet's own rounds, as its metrics tell."""

    def rounds() -> dict[str, float] | None:
        with urllib.request.urlopen(f"{wall.url}/api/v1/infrastructure/metrics", timeout=10) as answer:
            shown: dict[str, float] = json.load(answer)["performance"]["operations"].get("health_round", {})
        return shown if shown.get("count", 0) >= ROUNDS else None

    found = wait_for(rounds, within_s=ROUNDS_WITHIN_S, every_s=1, what="the fleet has checked its providers")
    assert found is not None
    return found["p50_ms"] / 1000


def _failover(table: Table) -> None:
    """The time of a request once it is known that the first provider hangs, against asking in a fixed order."""
    first = Given(name="p1", timeout_s=HANG_TIMEOUT_S, profile={"latency_s": 0.3})
    second = Given(name="p2", priority=2, profile={"latency_s": 0.3})
    with Wall(providers=[first, second]) as wall:
        ready(wall, workers=2)
        wall.sandbox.set_faults({"match": {"instance": "p1"}, "action": {"hang": True}})
        found = asyncio.run(run(wall.url, rate=10, seconds=KNOWN_AFTER_S + 30, body=questions()))
        later = found.between(found.began_ms + KNOWN_AFTER_S * 1000)
        ours = statistics.fmean(job.total_ms for job in later) / 1000
        fixed = asyncio.run(_fixed_order([wall.urls["p1"], wall.urls["p2"]]))
        warm_up(wall.url, jobs=1)
    told = f"{fixed:.2f} s in fixed order, {ours:.2f} s by score and breaker, mean of {len(later)}"
    _row(table, "failover, once the outage is known, is faster", 0.75, 1 - ours / fixed, told)


async def _fixed_order(urls: list[str]) -> float:
    body = {**questions()(0), "model": "sandbox-small"}
    before = time.perf_counter()
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer any"}) as session:
        for _ in range(FIXED_CALLS):
            for url in urls:
                try:
                    async with asyncio.timeout(HANG_TIMEOUT_S):
                        async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                            await answer.read()
                            break
                except TimeoutError:
                    continue
    return (time.perf_counter() - before) / FIXED_CALLS
