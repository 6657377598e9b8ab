"""Keeps new jobs out of a Redis that is nearly full, so that those inside can end."""

from __future__ import annotations

import time
from collections.abc import Callable

from redis.asyncio import Redis

from infrastructure.core.error_core import StoreFull

SHARE = 0.85
"""Of `maxmemory`: beyond it submits are refused."""
FRESH_S = 1.0


class Headroom:
    """Knows, at most a second late, whether Redis has room for new jobs."""

    def __init__(self, redis: Redis, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._clock = clock
        self._looked_at_s = float("-inf")
        self._full = False

    async def check(self) -> None:
        """Return when there is room.

        Raises:
            StoreFull: Redis uses SHARE of its `maxmemory` or more; one without a limit is never full.
        """
        now_s = self._clock()
        if now_s - self._looked_at_s >= FRESH_S:
            self._looked_at_s = now_s  # before the answer: one caller a second asks, the others go by the last answer
            self._full = _full(await self._redis.info("memory"))
        if self._full:
            raise StoreFull(f"Redis uses {SHARE:.0%} of its memory limit or more", retry_after_s=5)


def _full(memory: dict[str, int]) -> bool:
    limit = memory.get("maxmemory", 0)
    return limit > 0 and memory["used_memory"] >= SHARE * limit
