"""The cache among races, frozen servers, clocks that go back, and callers who leave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from infrastructure.core.cache_core import CoreCache
from infrastructure.core.cache_core.scripts import LOOKED_THROUGH
from tests.support.machine import in_time
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
PATIENCE_S = 10.0
LOG = "aip:cache:hostile::log"


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[CoreCache]:
    cache = CoreCache("hostile", redis_url=redis_url, patience_s=PATIENCE_S)
    yield cache
    await cache.close()


@pytest.fixture
async def other(redis_url: str) -> AsyncIterator[CoreCache]:
    """The same cache, as another process has it; it hears nothing."""
    cache = CoreCache("hostile", redis_url=redis_url, patience_s=PATIENCE_S)
    yield cache
    await cache.close()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer(appendonly=True).start()
    yield server
    server.remove()


CHANGES: dict[str, Callable[[CoreCache], Awaitable[Any]]] = {
    "delete": lambda cache: cache.delete("é:1"),
    "set": lambda cache: cache.set("é:1", "new"),
    "prefix": lambda cache: cache.invalidate(namespace="-", prefix="é:"),
    "namespace": lambda cache: cache.invalidate(namespace="-"),
    "all": lambda cache: cache.invalidate(),
}


@pytest.mark.parametrize("change", list(CHANGES))
async def test_what_another_process_changes_during_a_load_is_not_overwritten_by_it(
    cache: CoreCache, other: CoreCache, change: str
) -> None:
    async def load() -> str:
        await CHANGES[change](other)
        return "old"

    assert await cache.get_or_load("é:1", load) == "old"
    assert await cache.get("é:1") == ("new" if change == "set" else None)


async def test_changes_of_other_values_do_not_keep_a_load_from_being_kept(cache: CoreCache, other: CoreCache) -> None:
    async def load() -> str:
        await other.set("é:10", 1)
        await other.delete("é:1", namespace="else")
        await other.invalidate(namespace="-", prefix="é:10")
        await other.invalidate(namespace="else")
        return "loaded"

    assert await cache.get_or_load("é:1", load) == "loaded"
    assert await other.get("é:1") == "loaded"


async def test_a_load_during_more_changes_than_are_looked_through_is_not_kept(cache: CoreCache, redis: Redis) -> None:
    async def load() -> str:
        async with redis.pipeline(transaction=False) as pipe:
            for number in range(LOOKED_THROUGH):
                pipe.xadd(LOG, {"s": "-", "k": f"{number}"})
            await pipe.execute()
        return "old"

    assert await cache.get_or_load("x", load) == "old"
    assert await cache.get("x") is None


async def test_a_value_from_before_the_servers_clock_was_set_back_is_asked_for_again_each_second(
    cache: CoreCache, other: CoreCache, redis: Redis
) -> None:
    seconds, _ = await redis.time()
    await redis.xadd(LOG, {"s": "-", "k": "y"}, id=f"{(int(seconds) + 3_600) * 1_000}-0")
    await cache.set("x", 1, ttl=300)
    value, stats = await other.get_with_stats("x")
    assert (value, stats["tier"], stats["age_s"]) == (1, "l2", 0)
    assert stats["ttl_s"] <= 1
    await cache.delete("x")
    assert await CoreCache("hostile", redis=redis).get("x") is None


async def test_a_getter_who_is_cancelled_hurts_no_other(cache: CoreCache, other: CoreCache) -> None:
    await cache.set("x", 1)
    getters = [asyncio.create_task(other.get("x")) for _ in range(10)]
    await asyncio.sleep(0)
    getters[0].cancel()
    answers = await asyncio.gather(*getters, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [1] * 9


async def test_what_is_changed_while_debts_are_paid_is_paid_too(server: RedisServer) -> None:
    cache = CoreCache("hostile", redis_url=server.url, patience_s=0.05)
    try:
        server.kill()
        for number in range(900):
            await cache.delete(f"{number}")
        server.start()
        while _state(cache) == "away":
            await cache.delete("late")
            await asyncio.sleep(0)
        assert cache._tiers._remote is not None
        assert cache._tiers._remote.debts.owed == set()
    finally:
        await cache.close()


async def test_nobody_waits_for_a_frozen_server_and_the_loop_goes_on(server: RedisServer) -> None:
    cache = CoreCache("hostile", redis_url=server.url)
    lags: list[float] = []
    ticking = asyncio.create_task(_tick(lags))

    async def load() -> int:
        return 1

    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: cache.get("x"), lambda: cache.set("x", 1), lambda: cache.delete("x"), cache.invalidate,
        lambda: cache.get_or_load("y", load),
    ]  # fmt: skip
    try:
        for call in calls:
            await call()
        for call in calls:
            server.freeze()
            began = time.monotonic()
            await asyncio.gather(*(call() for _ in range(20)))
            assert in_time(time.monotonic() - began, 0.5)  # 50 ms a question, and what a loaded machine adds
            server.thaw()
            await eventually(lambda: _state(cache) == "there")
            await cache.invalidate()
    finally:
        server.thaw()
        ticking.cancel()
        await cache.close()
    assert in_time(max(lags), 0.3)


async def test_a_cache_closed_while_it_is_used_leaves_no_task_and_may_be_started_again(server: RedisServer) -> None:
    cache = CoreCache("hostile", redis_url=server.url)
    await cache.start()
    await eventually(lambda: cache.listening)
    server.kill()
    users = [asyncio.create_task(one) for n in range(20) for one in (cache.get(f"{n}"), cache.set(f"{n}", n))]
    await asyncio.sleep(0)
    await cache.close()
    await asyncio.gather(*users)
    await cache.set("after", 1)
    assert await cache.get("after") == 1
    await eventually(lambda: not _tasks_of_the_cache())
    server.start()
    await cache.start()
    await eventually(lambda: cache.listening and _state(cache) == "there")
    reader = CoreCache("hostile", redis_url=server.url, patience_s=PATIENCE_S)

    async def kept() -> bool:
        await cache.set("again", 1)
        found = await reader.get("again")
        return bool(found == 1)

    await eventually(kept, what="what it keeps is found by others")
    await cache.close()
    await reader.close()


async def _tick(lags: list[float]) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.005)
        lags.append(time.monotonic() - began)


def _tasks_of_the_cache() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("cache-")]


def _state(cache: CoreCache) -> str:
    return str(cache.get_performance_stats()["redis"]["state"])


async def test_two_thousand_who_set_together_are_few_questions_and_lose_nothing(
    cache: CoreCache, other: CoreCache, redis: Redis
) -> None:
    await cache.set("first", 1)
    before = (await redis.info("stats"))["total_reads_processed"]
    await asyncio.gather(*(cache.set(f"{number}", {"answer": number}) for number in range(2_000)))
    assert (await redis.info("stats"))["total_reads_processed"] - before < 200
    assert [await other.get(f"{number}") for number in range(0, 2_000, 50)] == [
        {"answer": number} for number in range(0, 2_000, 50)
    ]


async def test_a_change_nobody_waits_for_is_not_overtaken_by_a_later_one(cache: CoreCache, other: CoreCache) -> None:
    await cache.set("x", "old")
    sets = [asyncio.create_task(cache.set(f"{number}", "x" * 1_000)) for number in range(300)]
    left = asyncio.create_task(cache.set("x", "older"))
    await asyncio.sleep(0)
    left.cancel()
    assert await cache.delete("x")
    await asyncio.gather(*sets)
    assert await other.get("x") is None
