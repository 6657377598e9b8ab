"""The bound on request bodies held in memory: two thousand calls may be in flight, two thousand large bodies may not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CLAIMS_AT_ONCE = 16


class Admission:
    """Lets claims through while the packed bodies in flight stay below a limit.

    At most `CLAIMS_AT_ONCE` claims run together, so the limit can be passed by that many bodies and no more; the same
    bound keeps a burst of doorbells from emptying the connection pool that completions need.
    """

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held = 0
        self._below = asyncio.Event()
        self._below.set()
        self._claims = asyncio.Semaphore(CLAIMS_AT_ONCE)

    @property
    def held_bytes(self) -> int:
        """Return the packed bytes of the bodies in flight."""
        return self._held

    @asynccontextmanager
    async def claiming(self) -> AsyncIterator[None]:
        """Wait for room, then hold one of the places for claims."""
        async with self._claims:
            await self._below.wait()
            yield

    @asynccontextmanager
    async def holding(self, size: int) -> AsyncIterator[None]:
        """Count a body of `size` packed bytes as in flight."""
        self._change(size)
        try:
            yield
        finally:
            self._change(-size)

    def _change(self, size: int) -> None:
        self._held += size
        if self._held < self._limit:
            self._below.set()
        else:
            self._below.clear()
