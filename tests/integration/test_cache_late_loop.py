"""The cache in a process whose event loop is late: what it was given is kept, and Redis is not blamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from infrastructure.core.cache_core import CoreCache
from tests.support.late_loop import late_loop
from tests.support.logs import caught_log
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually
from workers.providers.caching.key import VERSION
from workers.providers.caching.response_cache import core_cache

pytestmark = pytest.mark.anyio
BURST = 40


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


async def test_a_read_on_a_late_loop_finds_what_redis_has(cache: CoreCache, redis_url: str) -> None:
    await asyncio.gather(*(cache.set(f"{number}", number) for number in range(BURST)))
    reader = CoreCache("ai-provider-litellm", space=VERSION, redis_url=redis_url)
    async with late_loop():
        found = await asyncio.gather(*(reader.get(f"{number}") for number in range(BURST)))
    await reader.close()
    assert found == list(range(BURST))
    assert reader.get_performance_stats()["redis"]["impatient"] == 0


async def test_what_nobody_waits_for_is_written_before_the_cache_is_closed(redis_url: str) -> None:
    writer, reader = core_cache(redis_url=redis_url), core_cache(redis_url=redis_url, patience_s=10)
    sets = [asyncio.create_task(writer.set(f"{number}", number)) for number in range(500)]
    await asyncio.sleep(0)
    for one in sets:
        one.cancel()
    await asyncio.wait(sets)
    await writer.close()
    assert [await reader.get(f"{number}") for number in range(500)] == list(range(500))
    await reader.close()


class TestRedisAway:
    """A server of its own, which is taken away and brought back."""

    @pytest.fixture
    def server(self) -> Iterator[RedisServer]:
        server = RedisServer(appendonly=True).start()
        yield server
        server.remove()

    @pytest.fixture
    async def cache(self, server: RedisServer) -> AsyncIterator[CoreCache]:
        cache = core_cache(redis_url=server.url, patience_s=0.05)
        await cache.start()
        await eventually(lambda: cache.listening)
        yield cache
        await cache.close()

    @pytest.mark.parametrize("way", ["kill", "freeze"])
    async def test_answers_of_the_outage_are_kept_when_it_is_over_and_what_was_forgotten_stays_so(
        self, server: RedisServer, cache: CoreCache, way: str
    ) -> None:
        await cache.set("older", "old")
        getattr(server, way)()
        await asyncio.gather(*(cache.set(f"{number}", number) for number in range(BURST)))
        await eventually(lambda: _redis(cache)["state"] == "away")
        for key in ("older", "0"):
            await cache.delete(key)
        await cache.set("1", "newer")
        server.start() if way == "kill" else server.thaw()
        await eventually(lambda: _redis(cache)["state"] == "there", within_s=15)
        reader = core_cache(redis_url=server.url, patience_s=10)
        found = [await reader.get(key) for key in ("older", *map(str, range(BURST)))]
        await reader.close()
        assert found == [None, None, "newer", *range(2, BURST)]
        assert _redis(cache)["unkept"] == 0

    async def test_a_frozen_redis_has_what_it_had_when_it_goes_on(self, server: RedisServer, cache: CoreCache) -> None:
        await asyncio.gather(*(cache.set(f"{number}", number) for number in range(BURST)))
        server.freeze()
        await eventually(lambda: _redis(cache)["state"] == "away")
        server.thaw()
        await eventually(lambda: _redis(cache)["state"] == "there")
        reader = core_cache(redis_url=server.url, patience_s=10)
        assert [await reader.get(f"{number}") for number in range(BURST)] == list(range(BURST))
        await reader.close()

    async def test_what_is_lost_since_redis_stays_away_is_counted_and_said_once(self, server: RedisServer) -> None:
        cache = core_cache(redis_url=server.url, patience_s=0.05, hold_s=0.1)
        await cache.set("x", 1)
        server.kill()
        with caught_log() as log:
            await asyncio.gather(*(cache.set(f"{number}", number) for number in range(BURST)))
            await eventually(lambda: _redis(cache)["unkept"] == BURST)
            server.start()
            await eventually(lambda: _redis(cache)["state"] == "there", within_s=15)
            await cache.close()
        said = [line["context"]["count"] for line in log.lines if "could not keep" in line["message"]]
        assert said == [BURST]


def _redis(cache: CoreCache) -> dict[str, Any]:
    found: dict[str, Any] = cache.get_performance_stats()["redis"]
    return found
