"""A light client for measurements: submits many jobs over a few connections, then waits for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import aiohttp
import redis as sync_redis

CONNECTIONS = 24


async def submit_all(url: str, prompts: Sequence[str], *, model: str = "sandbox/sandbox-small") -> list[str]:
    """Submit each prompt as a job of its own and return the ids, in order."""
    ids = [""] * len(prompts)
    places = iter(range(len(prompts)))
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS), timeout=timeout) as session:

        async def one_connection() -> None:
            for place in places:
                body = {"model": model, "messages": [{"role": "user", "content": prompts[place]}]}
                async with session.post(f"{url}/api/v1/completion", json=body) as answer:
                    assert answer.status == 202, await answer.text()
                    ids[place] = (await answer.json())["id"]

        await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))
    return ids


def finished(redis_url: str, prefix: str, ids: Sequence[str]) -> int:
    """Count the jobs that are over, straight from the store: polling must not load what is measured."""
    client = sync_redis.Redis.from_url(redis_url)
    pipe = client.pipeline(transaction=False)
    for job_id in ids:
        pipe.hget(f"{prefix}:job:{job_id}", "state")
    states = pipe.execute()
    client.close()
    return sum(state not in {b"queued", b"in_progress"} for state in states)


def times(redis_url: str, prefix: str, ids: Sequence[str]) -> tuple[list[int], list[int], dict[str, int]]:
    """Return when jobs started and finished (Redis milliseconds), and how many ended in each state."""
    client = sync_redis.Redis.from_url(redis_url)
    pipe = client.pipeline(transaction=False)
    for job_id in ids:
        pipe.hmget(f"{prefix}:job:{job_id}", "started", "finished", "state")
    started, ended, states = [], [], dict[str, int]()
    for begin, end, state in pipe.execute():
        if begin and end:
            started.append(int(begin))
            ended.append(int(end))
        states[state.decode()] = states.get(state.decode(), 0) + 1
    client.close()
    return started, ended, states


def stopwatch() -> float:
    """Return seconds on the clock that measurements use."""
    return time.perf_counter()
