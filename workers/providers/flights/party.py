"""For whom a provider is called: how long they wait, and whose job it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, TypeAlias

JobRef: TypeAlias = tuple[str, str]
"""A job's id and the fence under which this process has it."""


class Party(Protocol):
    """Those for whom a call is made. They come and go while it runs."""

    def deadline(self) -> float:
        """Return until when (monotonic seconds) the most patient of them waits, now."""

    def job(self) -> JobRef | None:
        """Return the job of one who waits, now; None where only other processes wait."""

    def within(self, limit_s: float) -> AbstractAsyncContextManager[None]:
        """Bound a block by `limit_s` seconds and by the party's deadline, also when that grows meanwhile.

        Raises:
            TimeoutError: out of the block.
        """


class Solo:
    """One who shares with nobody."""

    def __init__(self, deadline: float, job: JobRef | None = None) -> None:
        self._deadline = deadline
        self._job = job

    def deadline(self) -> float:
        """Return until when it waits."""
        return self._deadline

    def job(self) -> JobRef | None:
        """Return its job."""
        return self._job

    @asynccontextmanager
    async def within(self, limit_s: float) -> AsyncIterator[None]:
        """Bound a block by `limit_s` seconds and by the deadline."""
        async with asyncio.timeout(min(limit_s, self._deadline - time.monotonic())):
            yield
