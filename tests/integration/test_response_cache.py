"""Answers in the cache: found again by any process, kept apart by tenant, and only where they are good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio as aioredis

from infrastructure.core.cache_core import CoreCache
from tests.support.cache_keys import BASE, CANDIDATES
from workers.providers.caching.key import CacheKey, cache_key
from workers.providers.caching.response_cache import Kept, NullAnswerCache, ResponseCache, core_cache

pytestmark = pytest.mark.anyio


def key(tenant: str = "acme") -> CacheKey:
    return cache_key(tenant=tenant, model="default", candidates=CANDIDATES, params=BASE)


def kept(content: Any = "A harbour.", *, finish: str = "stop", **message: Any) -> Kept:
    said = {"role": "assistant", "content": content, **message}
    result = {
        "id": "c",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
    }
    return Kept(result=result, usage={"total_tokens": 3}, cost_usd=0.5, provider="openai", model="m", latency_ms=812.5)


@pytest.fixture
async def core(redis: aioredis.Redis) -> AsyncIterator[CoreCache]:
    cache = core_cache(redis=redis, patience_s=5)
    yield cache
    await cache.close()


@pytest.fixture
async def other(redis: aioredis.Redis) -> AsyncIterator[ResponseCache]:
    """The cache of another process."""
    cache = core_cache(redis=redis, patience_s=5)
    yield ResponseCache(cache)
    await cache.close()


async def test_an_answer_is_found_as_it_was_kept_here_and_elsewhere(core: CoreCache, other: ResponseCache) -> None:
    cache = ResponseCache(core)
    assert await cache.find(key()) is None
    assert await cache.keep(key(), kept(), 60)
    assert await cache.find(key()) == await other.find(key()) == kept()


async def test_a_tenant_s_answer_is_nobody_else_s(core: CoreCache, other: ResponseCache) -> None:
    await ResponseCache(core).keep(key("acme"), kept("for acme"), 60)
    assert await other.find(key("zenith")) is None
    crossed = CacheKey(key().version, "zenith", key("acme").digest)
    assert await other.find(crossed) is None


async def test_the_name_in_redis_is_that_of_the_key_and_it_expires(core: CoreCache, redis: aioredis.Redis) -> None:
    await ResponseCache(core).keep(key(), kept(), 60)
    assert 0 < await redis.pttl(f"aip:cache:{key()}") <= 60_000


@pytest.mark.parametrize(
    "answer",
    [
        kept(None),
        kept(""),
        kept(" \n"),
        kept("Half an answer", finish="content_filter"),
        Kept(result={"choices": []}, usage=None, cost_usd=None, provider="p", model="m", latency_ms=1),
    ],
    ids=["null", "empty", "blank", "filtered", "no choices"],
)
async def test_what_is_no_good_answer_is_not_kept(core: CoreCache, answer: Kept) -> None:
    cache = ResponseCache(core)
    assert not await cache.keep(key(), answer, 60)
    assert await cache.find(key()) is None


async def test_an_answer_that_is_a_call_of_a_tool_is_kept(core: CoreCache) -> None:
    called = kept(None, finish="tool_calls", tool_calls=[{"id": "1", "function": {"name": "f", "arguments": "{}"}}])
    assert await ResponseCache(core).keep(key(), called, 60)
    assert await ResponseCache(core).find(key()) == called


@pytest.mark.parametrize("nonsense", [{}, [], "text", 1, {"result": {}}, {"result": None}, {"choices": []}])
async def test_an_entry_that_is_no_answer_is_a_miss(core: CoreCache, nonsense: Any) -> None:
    await core.set(key().digest, nonsense, 60, namespace="acme")
    assert await ResponseCache(core).find(key()) is None


async def test_an_entry_without_a_good_answer_is_a_miss(core: CoreCache) -> None:
    await core.set(key().digest, {**_fields(kept()), "result": {"choices": []}}, 60, namespace="acme")
    assert await ResponseCache(core).find(key()) is None


def _fields(answer: Kept) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in Kept.__slots__}


async def test_an_entry_that_was_damaged_or_moved_is_a_miss(
    core: CoreCache, other: ResponseCache, redis: aioredis.Redis
) -> None:
    await ResponseCache(core).keep(key(), kept(), 60)
    value: Any = await redis.get(f"aip:cache:{key()}")
    await redis.set(f"aip:cache:{key('zenith')}", value)
    assert await other.find(key("zenith")) is None
    await redis.set(f"aip:cache:{key()}", value[:-1] + bytes([value[-1] ^ 1]))
    assert await other.find(key()) is None


async def test_an_answer_that_the_cache_cannot_hold_is_not_kept(core: CoreCache) -> None:
    assert not await ResponseCache(core).keep(key(), kept("x" * 65_000_000), 60)
    assert not await ResponseCache(core).keep(key(), kept("x", extra={1, 2}), 60)


async def test_without_redis_answers_are_kept_in_the_process() -> None:
    cache = ResponseCache(core_cache())
    assert await cache.keep(key(), kept(), 60)
    assert await cache.find(key()) == kept()


async def test_the_null_twin_keeps_nothing() -> None:
    cache = NullAnswerCache()
    assert not await cache.keep(key(), kept(), 60)
    assert await cache.find(key()) is None
