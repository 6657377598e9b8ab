"""CoreCache on a real Redis: what the guide asks of it, in one process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from infrastructure.base.base_cache import BaseCache
from infrastructure.core.cache_core import CoreCache
from infrastructure.core.cache_core.scripts import MARKS
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
PATIENCE_S = 10.0  # a loaded machine is no outage


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=[2, 3])
def url(redis_url: str, request: pytest.FixtureRequest) -> str:
    """The server's URL, in each of the protocols that redis-py speaks."""
    return f"{redis_url}?protocol={request.param}"


@pytest.fixture
async def cache(url: str) -> AsyncIterator[CoreCache]:
    cache = CoreCache("ai-provider", redis_url=url, patience_s=PATIENCE_S)
    yield cache
    await cache.close()


@pytest.fixture
async def other(url: str) -> AsyncIterator[CoreCache]:
    """The same cache, as another process has it."""
    cache = CoreCache("ai-provider", redis_url=url, patience_s=PATIENCE_S)
    yield cache
    await cache.close()


async def test_a_value_is_found_here_in_memory_and_elsewhere_in_redis(cache: CoreCache, other: CoreCache) -> None:
    await cache.set("completion:abc", {"answer": "42", "tokens": [1, 2]})
    for reader, tier in ((cache, "l1"), (other, "l2"), (other, "l1")):
        value, stats = await reader.get_with_stats("completion:abc")
        assert value == {"answer": "42", "tokens": [1, 2]}
        assert (stats["hit"], stats["tier"]) == (True, tier)
        assert 0 <= stats["age_s"] < 5
        assert 295 < stats["ttl_s"] <= 300
        assert stats["latency_ms"] > 0


async def test_a_miss_says_so_and_a_kept_none_is_no_miss(cache: CoreCache) -> None:
    assert await cache.get("x") is None
    _, stats = await cache.get_with_stats("x")
    assert (stats["hit"], stats["tier"], stats["age_s"], stats["ttl_s"]) == (False, None, None, None)
    await cache.set("x", None)
    value, stats = await cache.get_with_stats("x")
    assert (value, stats["hit"]) == (None, True)


async def test_bytes_come_back_as_bytes_from_both_tiers(cache: CoreCache, other: CoreCache) -> None:
    await cache.set("x", b"\x00\xff" * 5_000)
    assert await cache.get("x") == await other.get("x") == b"\x00\xff" * 5_000


async def test_every_key_in_redis_begins_with_the_prefix_and_has_an_expiry(cache: CoreCache, redis: Redis) -> None:
    await cache.set("a", 1, ttl=30)
    await cache.delete("b")
    await cache.invalidate(namespace="team", prefix="x")
    keys: Any = await redis.keys("*")
    assert len(keys) == 4
    assert all(key.startswith(b"aip:cache:ai-provider:") for key in keys)
    assert all([await redis.pttl(key) > 0 for key in keys])
    assert 29_000 < await redis.pttl("aip:cache:ai-provider:-:a") <= 30_000


async def test_what_repeats_is_compressed_in_redis(cache: CoreCache, redis: Redis) -> None:
    await cache.set("x", {"text": "the same words again and again " * 200})
    assert await redis.strlen("aip:cache:ai-provider:-:x") < 300


async def test_a_value_in_memory_lives_no_longer_than_in_redis(url: str, cache: CoreCache) -> None:
    clock = Clock()
    reader = CoreCache("ai-provider", redis_url=url, clock=clock, patience_s=PATIENCE_S)
    await cache.set("x", 1, ttl=10)
    _, stats = await reader.get_with_stats("x")
    assert 9 < stats["ttl_s"] <= 10
    await cache.delete("x")
    assert await reader.get("x") == 1
    clock.now += 10
    assert await reader.get("x") is None
    await reader.close()


async def test_a_value_expires_in_both_tiers(cache: CoreCache, other: CoreCache) -> None:
    await cache.set("x", 1, ttl=0.02)
    await eventually(lambda: _gone(cache, "x"), within_s=2)
    assert await other.get("x") is None


async def test_update_ttl_holds_for_what_is_set_from_then_on(cache: CoreCache) -> None:
    await cache.set("old", 1)
    cache.update_ttl(20)
    await cache.set("new", 1)
    await cache.set("own", 1, ttl=7)
    left = [(await cache.get_with_stats(key))[1]["ttl_s"] for key in ("old", "new", "own")]
    assert [round(seconds) for seconds in left] == [300, 20, 7]
    for wrong in (0, -1, 604_801):
        with pytest.raises(ValueError, match="expected a ttl"):
            cache.update_ttl(wrong)


async def test_validation_refuses_what_would_come_back_changed_and_leaves_the_old(cache: CoreCache) -> None:
    assert await cache.set_with_validation("x", {"a": [1.5, None, "é"]}, ttl=60)
    for wrong in (float("nan"), (1, 2), object(), {1: 2}):
        assert not await cache.set_with_validation("x", wrong)
    assert not await cache.set_with_validation("x", 1, ttl=0)
    assert not await cache.set_with_validation("", 1)
    assert not await cache.set_with_validation("x", 1, namespace="a:b")
    assert await cache.get("x") == {"a": [1.5, None, "é"]}
    assert cache.get_performance_stats()["changes"]["refused"] == 7


async def test_set_raises_for_what_cannot_be_kept(cache: CoreCache) -> None:
    with pytest.raises(TypeError):
        await cache.set("x", object())
    with pytest.raises(ValueError, match="ttl"):
        await cache.set("x", 1, ttl=-5)
    with pytest.raises(ValueError, match="key"):
        await cache.get("k" * 1_025)


async def test_tenants_do_not_see_each_other(cache: CoreCache, other: CoreCache, redis: Redis) -> None:
    await cache.set("same", "of a", namespace="team-a")
    assert await other.get("same", namespace="team-b") is None
    assert await other.get("same") is None
    await redis.copy("aip:cache:ai-provider:team-a:same", "aip:cache:ai-provider:team-b:same")
    assert await other.get("same", namespace="team-b") is None
    assert other.get_performance_stats()["redis"]["damaged"] == 1
    await cache.set("same", "of b", namespace="team-b")
    await cache.invalidate(namespace="team-b")
    assert await other.get("same", namespace="team-a") == "of a"


async def test_caches_of_two_services_are_apart_unless_they_share_a_space(cache: CoreCache, url: str) -> None:
    stranger, partner = (
        CoreCache("other", redis_url=url, patience_s=PATIENCE_S),
        CoreCache("another-name", redis_url=url, space="ai-provider", patience_s=PATIENCE_S),
    )
    await cache.set("x", 1)
    assert (await stranger.get("x"), await partner.get("x")) == (None, 1)
    await stranger.close()
    await partner.close()


async def test_a_deleted_value_is_gone_here_and_in_redis(cache: CoreCache, other: CoreCache) -> None:
    await cache.set("x", 1)
    assert await cache.delete("x")
    assert await cache.get("x") is None
    assert await other.get("x") is None


async def test_an_invalidation_reaches_its_scope_and_nothing_else(cache: CoreCache, url: str) -> None:
    kept = {(space, key) for space in ("-", "team") for key in ("a:1", "a:2", "b:1")}

    async def left() -> set[tuple[str, str]]:
        fresh = CoreCache("ai-provider", redis_url=url, patience_s=PATIENCE_S)
        found = {one for one in kept if await fresh.get(one[1], namespace=one[0])}
        found_here = {one for one in kept if await cache.get(one[1], namespace=one[0])}
        await fresh.close()
        assert found == found_here
        return found

    for space, key in kept:
        await cache.set(key, 1, namespace=space)
    assert await left() == kept
    assert await cache.invalidate(namespace="team", prefix="a:")
    assert await left() == {("-", "a:1"), ("-", "a:2"), ("-", "b:1"), ("team", "b:1")}
    await cache.set("a:1", 2, namespace="team")
    assert ("team", "a:1") in await left()
    assert await cache.invalidate(namespace="-")
    assert await left() == {("team", "a:1"), ("team", "b:1")}
    assert await cache.invalidate()
    assert await left() == set()
    with pytest.raises(ValueError, match="namespace with a prefix"):
        await cache.invalidate(prefix="a")


async def test_many_marks_become_one_and_hide_no_less(cache: CoreCache, other: CoreCache, redis: Redis) -> None:
    await cache.set("x", 1, namespace="team")
    await cache.invalidate(namespace="team")
    for number in range(MARKS + 5):
        await cache.invalidate(namespace=f"n{number}")
    assert await redis.hlen("aip:cache:ai-provider::marks") < 10
    assert await other.get("x", namespace="team") is None
    await cache.set("x", 2, namespace="team")
    assert await other.get("x", namespace="team") == 2


async def test_a_thousand_corrupted_entries_are_a_thousand_misses(
    cache: CoreCache, other: CoreCache, redis: Redis
) -> None:
    chance = random.Random(11)
    for number in range(1_000):
        await cache.set(f"{number}", {"n": number, "text": "word " * chance.randrange(200)})
    for number in range(1_000):
        key = f"aip:cache:ai-provider:-:{number}"
        held: Any = await redis.get(key)
        raw = bytearray(held)
        place = chance.randrange(len(raw))
        if number % 3 == 0:
            raw[place] ^= chance.randrange(1, 256)
        elif number % 3 == 1:
            del raw[place:]
        else:
            raw = bytearray(chance.randbytes(chance.randrange(300)))
        await redis.set(key, bytes(raw), px=60_000)
    assert [await other.get(f"{number}") for number in range(1_000)] == [None] * 1_000
    stats = other.get_performance_stats()
    assert (stats["misses"], stats["redis"]["damaged"], stats["redis"]["failed"]) == (1_000, 1_000, 0)


async def test_a_key_of_another_type_is_a_miss(cache: CoreCache, redis: Redis) -> None:
    await redis.lpush("aip:cache:ai-provider:-:x", "1")
    assert await cache.get("x") is None


async def test_two_thousand_who_ask_together_need_few_questions(cache: CoreCache, url: str, redis: Redis) -> None:
    for number in range(500):
        await cache.set(f"{number}", number)
    reader = CoreCache("ai-provider", redis_url=url, patience_s=PATIENCE_S)
    before = (await redis.info("commandstats"))["cmdstat_mget"]["calls"] if await _asked(redis) else 0
    answers = await asyncio.gather(*(reader.get(f"{number % 500}") for number in range(2_000)))
    assert answers == [number % 500 for number in range(2_000)]
    assert (await redis.info("commandstats"))["cmdstat_mget"]["calls"] - before <= 8
    await reader.close()


async def test_get_or_load_loads_once_and_does_not_keep_what_was_invalidated_meanwhile(
    cache: CoreCache, other: CoreCache
) -> None:
    loads = 0

    async def load() -> int:
        nonlocal loads
        loads += 1
        return loads

    async def overtaken() -> str:
        await cache.delete("y")
        return "old"

    assert [await cache.get_or_load("x", load) for _ in range(3)] == [1, 1, 1]
    assert await other.get_or_load("x", load) == 1
    assert await cache.get_or_load("y", overtaken) == "old"
    assert (await cache.get("y"), await other.get("y")) == (None, None)


async def test_without_redis_memory_alone_serves() -> None:
    cache: BaseCache = CoreCache("ai-provider-litellm")
    assert isinstance(cache, CoreCache)
    await cache.start()
    await cache.set("health_check_results", {"openai": "healthy"}, ttl=30)
    assert await cache.get("health_check_results") == {"openai": "healthy"}
    assert await cache.delete("health_check_results")
    assert await cache.invalidate()
    assert await cache.get("health_check_results") is None
    assert cache.get_performance_stats()["redis"]["state"] == "none"
    await cache.close()


async def test_the_figures_tell_hits_by_tier_latency_size_evictions_and_age(cache: CoreCache, other: CoreCache) -> None:
    await cache.set("x", "secret prompt")
    for _ in range(3):
        await other.get("x")
    await other.get("y")
    stats = other.get_performance_stats()
    assert (stats["hits"], stats["misses"], stats["hit_ratio"]) == ({"l1": 2, "l2": 1}, 1, 0.75)
    assert stats["latency"]["l1"]["p99_ms"] < stats["latency"]["l2"]["p99_ms"]
    assert stats["efficiency"]["saved_ms"] > 0
    assert stats["size"]["entries"] == 1
    assert 0 < stats["size"]["bytes"] <= stats["size"]["max_bytes"]
    assert stats["ttl"]["age_at_hit"]["count"] == 3
    small = CoreCache("small", max_size=10)
    for number in range(100):
        await small.get(f"{number}")
        await small.get(f"{number}")
        await small.set(f"{number}", 1)
    figures = small.get_performance_stats()
    assert figures["size"]["entries"] == 10
    assert figures["evictions"]["evicted"] + figures["evictions"]["not_admitted"] == 90
    assert "secret" not in repr(stats)


async def test_a_full_redis_keeps_no_old_value_alive() -> None:
    server = RedisServer(extra=("--maxmemory", "3mb")).start()
    try:
        cache, other = (
            CoreCache("full", redis_url=server.url, patience_s=PATIENCE_S),
            CoreCache("full", redis_url=server.url, patience_s=PATIENCE_S),
        )
        await cache.set("x", "old")
        filler = Redis.from_url(server.url)
        number = 0
        while cache.get_performance_stats()["redis"]["failed"] == 0:
            with_room = await _fill(filler, number)
            number += 1
            if not with_room:
                await cache.set("x", random.Random(1).randbytes(500_000))
        assert await other.get("x") is None
        stats = cache.get_performance_stats()["redis"]
        assert (stats["state"], stats["outages"]) == ("there", 0)
        for one in (cache, other):
            await one.close()
        await filler.aclose()
    finally:
        server.remove()


@pytest.mark.parametrize(
    "options", [{"max_size": 0}, {"default_ttl": 0}, {"default_ttl": 10**9}, {"max_bytes": 0}, {"space": "a:b"}]
)
def test_a_cache_out_of_range_is_not_made(options: dict[str, int | str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        CoreCache("x", **options)  # type: ignore[arg-type]


async def _gone(cache: CoreCache, key: str) -> bool:
    return await cache.get(key) is None


async def _asked(redis: Redis) -> bool:
    return "cmdstat_mget" in await redis.info("commandstats")


async def _fill(redis: Redis, number: int) -> bool:
    from redis.exceptions import OutOfMemoryError

    try:
        await redis.set(f"filler:{number}", bytes(50_000))
    except OutOfMemoryError:
        return False
    return True
