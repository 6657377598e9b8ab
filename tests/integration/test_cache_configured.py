"""A cache made as the guide makes it, with a name alone: it takes the Redis of the process's configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from infrastructure.core.cache_core import CoreCache
from infrastructure.core.config_core import Registry, manager
from tests.support.logs import caught_log
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def closing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncExitStack]:
    """Close what a test makes; the process has read no configuration yet."""
    monkeypatch.setattr(manager, "_of_process", Registry())
    async with AsyncExitStack() as stack:
        yield stack


def made(closing: AsyncExitStack, redis_url: str | None = None) -> CoreCache:
    cache = CoreCache("ai-provider-litellm", redis_url=redis_url)
    closing.push_async_callback(cache.close)
    return cache


@pytest.mark.parametrize("variable", ["REDIS_URL", "AI_PROVIDER_CACHE_REDIS_URL"])
async def test_the_guides_cache_has_the_configured_redis_and_hears_others_without_being_started(
    closing: AsyncExitStack, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    one, other = made(closing), made(closing)
    monkeypatch.setenv(variable, redis_url)  # after they were made: the configuration is read at the first use
    monkeypatch.setenv("AI_PROVIDER_REDIS_PREFIX", "mine")

    async def shared() -> bool:
        await one.set("x", 1)
        found = await other.get("x")
        return bool(found == 1)

    await eventually(shared, what="what one sets the other finds")  # a busy machine's Redis may be late and given up
    assert one.get_performance_stats()["redis"]["state"] == "there"
    assert [key async for key in redis.scan_iter("mine:cache:ai-provider-litellm:*")] != []

    await eventually(lambda: other.listening and one.listening)
    assert await other.get("x") == 1
    heard = other.get_performance_stats()["changes"]["heard"]

    async def told() -> bool:
        await one.set("x", 2)
        return bool(other.get_performance_stats()["changes"]["heard"] > heard)

    await eventually(told, what="the other hears of the change")

    async def followed() -> bool:
        found = await other.get("x")
        assert found in {2, None}, "the old value was forgotten"
        return bool(found == 2)

    await eventually(followed, what="the other gives the new value")


async def test_an_empty_address_means_memory_only(
    closing: AsyncExitStack, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    cache = made(closing, redis_url="")

    await cache.set("x", 1)

    assert await cache.get("x") == 1
    assert cache.get_performance_stats()["redis"]["state"] == "none"
    assert await redis.keys("*") == []


async def test_with_a_bad_configuration_memory_serves_and_one_line_says_so(
    closing: AsyncExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIG_DIR", str(tmp_path / "none"))
    with caught_log() as log:
        cache = made(closing)
        await cache.set("x", 1)
        assert await cache.get("x") == 1

    assert log.line["message"] == "Cache keeps to memory, there is no good configuration"
