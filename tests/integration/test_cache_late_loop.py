"""The cache in a process whose event loop is late: what it was given is kept, and Redis is not blamed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.cache_core import CoreCache
from tests.support.waiting import eventually
from workers.providers.caching.response_cache import core_cache

pytestmark = pytest.mark.anyio
BURST = 40
BLOCKED_S = 0.15


@asynccontextmanager
async def late_loop(blocked_s: float = BLOCKED_S) -> AsyncIterator[None]:
    """Block the loop again and again, as a parser, a compressor or another process on the same core does."""

    async def block() -> None:
        while True:
            await asyncio.sleep(0.002)
            time.sleep(blocked_s)  # noqa: ASYNC251  a loop that is late is what is tested

    task = asyncio.create_task(block())
    try:
        yield
    finally:
        await end_tasks([task])


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[CoreCache]:
    cache = core_cache(redis_url=redis_url)
    await cache.start()
    await eventually(lambda: cache.listening)
    yield cache
    await cache.close()


async def test_a_burst_on_a_late_loop_is_kept_whole_and_opens_no_circuit(cache: CoreCache, redis_url: str) -> None:
    async with late_loop():
        await asyncio.gather(*(cache.set(f"{number}", {"answer": "word " * 400}) for number in range(BURST)))
    await eventually(lambda: cache.get_performance_stats()["redis"]["state"] == "there")
    reader = core_cache(redis_url=redis_url, patience_s=10)
    try:
        found = [await reader.get(f"{number}") for number in range(BURST)]
    finally:
        await reader.close()
    assert sum(one is not None for one in found) == BURST
    assert cache.get_performance_stats()["redis"]["failed"] == 0
