"""Five hundred cancels at random moments over real workers: jobs in line, running, put aside, ending."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import redis.asyncio as aioredis

from tests.chaos.rows import Row, at_least, at_most, counted, exactly, scaled
from tests.support.jobs import audit, overheard
from tests.support.steady import questions, warm_up
from tests.support.waiting import eventually
from tests.support.wall import BASE_MODEL, PREFIX, Given, Wall

LIMIT_S = 300.0
CANCELS, RATE = 500, 40
LATEST_S = 1.6
"""Longest from a submit to its cancel: an answer takes up to 1.2 s, so some have ended before."""
TERMINAL_WITHIN_S = 2.0
DOWN = "down"
PROVIDERS = (
    Given(name="up", profile={"latency_s": 0.2, "jitter_s": 1.0}),
    Given(name=DOWN, profile={"port": "closed"}),
)
MODELS = {"m": [f"up/{BASE_MODEL['openai']}"], DOWN: [f"{DOWN}/{BASE_MODEL['openai']}"]}
FINAL = {"completed", "failed", "cancelled", "expired"}


@dataclass
class Cancelled:
    """A job that was cancelled: what it was before, what the cancel answered, how long that took, what it is in the end."""

    id: str
    before: str = ""
    answer: str = ""
    took_s: float = 0.0
    end: str = ""


def run(scale: float) -> Sequence[Row]:
    """Submit 500 jobs, a third of them to a provider that is away, and cancel each after a moment."""
    with Wall(providers=PROVIDERS, settings={"models": MODELS}) as wall:
        wall.profile(DOWN, port="closed")
        wall.start(workers=2)
        warm_up(wall.url, jobs=10)
        return cancel_many(wall, scaled(CANCELS, scale, least=40))


def cancel_many(wall: Wall, count: int, *, seed: int = 7) -> list[Row]:
    """Cancel so many jobs of a running fleet, at moments drawn by the seed."""
    found, told, left_calls = asyncio.run(_cancel_all(wall, count, random.Random(seed)))
    with wall.client() as client:
        wrong = audit(client)
        late = int(client.hget(f"{PREFIX}:counters", "stale_writes") or 0)
    once = sum(told[job.id] != 1 for job in found)
    befores = Counter(job.before for job in found)
    return [
        counted("cancels: what they met", dict(befores)),
        at_least("cancels: of jobs in line, put aside, running", min(befores["queued"], befores["in_progress"]), 1),
        counted("cancels: ends", dict(Counter(job.end for job in found))),
        exactly("cancels: answers that are no end", sum(job.answer not in FINAL for job in found), 0),
        at_most("cancels: slowest to an end", max(job.took_s for job in found), TERMINAL_WITHIN_S, unit="s"),
        exactly("cancels: ends that changed", sum(job.answer != job.end for job in found), 0),
        exactly("cancels: jobs that ended other than once", once, 0),
        exactly("cancels: calls that go on 2 s after the last", left_calls, 0),
        counted("cancels: late writes refused", late),
        exactly("cancels: contradictions in the store", wrong, []),
    ]


async def _cancel_all(wall: Wall, count: int, drawn: random.Random) -> tuple[list[Cancelled], Counter[str], int]:
    redis = aioredis.Redis.from_url(wall.redis.url)
    body, began = questions(), time.monotonic()
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        _closing(redis),
        overheard(redis, f"{PREFIX}:done") as heard,
        aiohttp.ClientSession(wall.url, connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session,
    ):

        async def one(number: int, pause_s: float, model: str) -> Cancelled:
            await asyncio.sleep(max(0, began + number / RATE - time.monotonic()))
            async with session.post("/api/v1/completion", json={**body(number), "model": model}) as answer:
                assert answer.status == 202, await answer.text()
                job = Cancelled((await answer.json())["id"])
            await asyncio.sleep(pause_s)
            job.before = await _state(redis, job.id)
            if await redis.zscore(f"{PREFIX}:jobs:delayed", job.id) is not None:
                job.before = "put aside"
            before = time.perf_counter()
            async with session.post(f"/api/v1/jobs/{job.id}/cancel") as answer:
                job.answer = (await answer.json())["status"]
            job.took_s = time.perf_counter() - before
            return job

        plan = [(drawn.uniform(0, LATEST_S), DOWN if drawn.random() < 1 / 3 else "m") for _ in range(count)]
        found = await asyncio.gather(*(one(number, *each) for number, each in enumerate(plan)))
        left_calls = await _calls_left(wall)
        for job in found:
            job.end = await _state(redis, job.id)
        told = Counter(message for _, message in heard)
    return found, told, left_calls


async def _state(redis: aioredis.Redis, job_id: str) -> str:
    state: Any = await redis.hget(f"{PREFIX}:job:{job_id}", "state")
    return "gone" if state is None else str(state.decode())


async def _calls_left(wall: Wall) -> int:
    """Return the calls that the provider still has TERMINAL_WITHIN_S after the last cancel."""

    async def none_left() -> bool:
        counters = await asyncio.to_thread(wall.sandbox.counters)
        return bool(counters["in_flight"] == 0)

    try:
        await eventually(none_left, within_s=TERMINAL_WITHIN_S)
    except AssertionError:
        return int(wall.sandbox.counters()["in_flight"])
    return 0


@asynccontextmanager
async def _closing(redis: aioredis.Redis) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await redis.aclose()
