"""The cache of answers: one entry a request's key, in the tenant's namespace, good answers only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

from infrastructure.core.cache_core import CoreCache
from workers.providers.answer import fault
from workers.providers.caching.key import VERSION, CacheKey

SERVICE = "ai-provider-litellm"
PATIENCE_S = 0.5
"""A kept answer is worth a wait: without it a provider is called, and paid."""
HOLD_S = 10.0
"""An answer that was paid waits so long for a Redis that is away. It holds whoever wrote last: nobody changes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer as it is kept. `cost_usd` (None when unknown) and `latency_ms` are those of the call that gave it."""

    result: dict[str, Any]
    usage: dict[str, Any] | None
    cost_usd: float | None
    provider: str
    model: str
    latency_ms: float


class AnswerCache(Protocol):
    """Keeps answers by their key. Neither method raises, and none waits for long."""

    async def find(self, key: CacheKey) -> Kept | None:
        """Return the answer that is kept under a key; None when there is none."""

    async def keep(self, key: CacheKey, kept: Kept, ttl_s: float) -> bool:
        """Keep an answer for `ttl_s` seconds; False where it was not: it may not be kept, or there was no room."""


class NullAnswerCache:
    """Keeps nothing."""

    async def find(self, key: CacheKey) -> Kept | None:  # noqa: ARG002
        """Return None."""
        return None

    async def keep(self, key: CacheKey, kept: Kept, ttl_s: float) -> bool:  # noqa: ARG002
        """Return False."""
        return False


class ResponseCache:
    """Answers in a `CoreCache`, whose space is the version of the canonical form: see `core_cache`."""

    def __init__(self, cache: CoreCache) -> None:
        self._cache = cache

    async def find(self, key: CacheKey) -> Kept | None:
        """Return the answer that is kept under a key; None when there is none, or what is there is none."""
        return _kept(await self._cache.get(key.digest, namespace=key.tenant))

    async def keep(self, key: CacheKey, kept: Kept, ttl_s: float) -> bool:
        """Keep a good answer for `ttl_s` seconds, in place of any other; False where it was not kept."""
        if not may_be_kept(kept.result):
            return False
        try:
            await self._cache.set(key.digest, _fields(kept), ttl_s, namespace=key.tenant)
        except (TypeError, ValueError):  # longer than the cache takes, or not JSON: the answer itself is none the worse
            return False
        return True


def core_cache(**options: Any) -> CoreCache:
    """Return the cache for `ResponseCache`; `options` are those of CoreCache."""
    return CoreCache(SERVICE, space=VERSION, **{"patience_s": PATIENCE_S, "hold_s": HOLD_S, **options})


def may_be_kept(result: Mapping[str, Any]) -> bool:
    """Say whether an answer is one that others may get: neither bad nor, in any part, withheld by a content filter."""
    return fault(result) is None and not any(
        choice["finish_reason"] == "content_filter" for choice in result["choices"]
    )


def _fields(kept: Kept) -> dict[str, Any]:
    """Return an answer as JSON; `asdict` would copy all of it first."""
    return {one.name: getattr(kept, one.name) for one in fields(kept)}


def _kept(value: Any) -> Kept | None:
    try:
        kept = Kept(**value)
        return kept if may_be_kept(kept.result) else None
    except (TypeError, KeyError, AttributeError):  # of another version of the service, or by another hand
        return None
