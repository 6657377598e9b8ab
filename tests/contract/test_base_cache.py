"""What every cache promises, judged by one body on the null, on one in memory and on one with Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from infrastructure.base.base_cache import BaseCache, NullCache
from infrastructure.core.cache_core import CoreCache

pytestmark = pytest.mark.anyio

VALUES: list[Any] = ["text", "", 0, 1.5, True, [1, "a", None], {"a": {"b": [1]}}, "ü" * 1_000]


@pytest.fixture(params=["null", "base", "memory", "redis"])
async def cache(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[BaseCache]:
    if request.param in {"null", "base"}:
        yield (NullCache if request.param == "null" else BaseCache)("ai-provider")
        return
    cache = CoreCache("ai-provider", redis_url=redis_url if request.param == "redis" else "")
    yield cache
    await cache.close()


def keeps(cache: BaseCache) -> bool:
    return isinstance(cache, CoreCache)


async def test_it_knows_its_service(cache: BaseCache) -> None:
    assert cache.service_name == "ai-provider"


async def test_a_key_that_was_never_set_is_a_miss(cache: BaseCache) -> None:
    assert await cache.get("nothing") is None


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__} {str(value)[:8]}")
async def test_a_value_is_kept_as_it_is_or_not_at_all(cache: BaseCache, value: Any) -> None:
    assert await cache.set("key", value) is None  # type: ignore[func-returns-value]
    assert await cache.get("key") == (value if keeps(cache) else None)
    await cache.set("other", value, ttl=30)
    assert await cache.get("other") == (value if keeps(cache) else None)


async def test_the_last_value_holds(cache: BaseCache) -> None:
    await cache.set("key", 1)
    await cache.set("key", 2, 30)
    assert await cache.get("key") == (2 if keeps(cache) else None)


async def test_keys_do_not_mix(cache: BaseCache) -> None:
    await cache.set("one", 1)
    await cache.set("two", 2)
    assert [await cache.get("one"), await cache.get("two")] == ([1, 2] if keeps(cache) else [None, None])
