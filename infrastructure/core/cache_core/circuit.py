"""Doing without Redis while it is away: nobody waits for it, one probe in the background finds it again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from infrastructure.core.asyncio_core import end_tasks, within_free
from infrastructure.core.logger_core import CoreLogger, where

FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 1.0
PROBE_S = 1.0

FAILURES = (RedisError, OSError, TimeoutError)
"""What a Redis that is away, slow, full or wrong raises."""


class Circuit:
    """Open while Redis is away. `probe` must succeed before it is closed again; it runs for at most 1 s at a time.

    A timeout may still say that somebody was busy: the circuit opens, but the warning waits for the first probe.
    """

    def __init__(self, probe: Callable[[], Awaitable[None]], *, log: CoreLogger) -> None:
        self._probe = probe
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.open = False
        self.outages = 0
        """Times that Redis was away for longer than a moment; each was warned of once."""

    def trip(self, exc: BaseException) -> None:
        """Note that Redis failed: from now on it is left alone until a probe succeeds."""
        if not self.open and not self._closed:
            self.open = True
            self._task = asyncio.create_task(self._until_back(self.outages), name="cache-probe")
            if not isinstance(exc, TimeoutError):
                self._warn(exc)

    def start(self) -> None:
        """Be ready again after `close`; at first it is so without."""
        self._closed = False

    async def back(self) -> None:
        """Wait until Redis is back, where it is away."""
        if self.open and self._task is not None:
            await asyncio.wait((self._task,))

    async def close(self) -> None:
        """End the probe, and begin none until `start`: whoever still asks then finds out for himself."""
        self._closed = True
        if self._task is not None:
            await end_tasks([self._task])
            self._task = None
        self.open = False

    async def _until_back(self, outages_before: int) -> None:
        pause = FIRST_PAUSE_S
        while (trouble := await self._trouble(outages_before)) is not None:
            if self.outages == outages_before:
                self._warn(trouble)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE_S)

    async def _trouble(self, outages_before: int) -> BaseException | None:
        try:
            await within_free(self._find_again(outages_before), PROBE_S)
        except FAILURES as exc:
            return exc
        return None

    async def _find_again(self, outages_before: int) -> None:
        await self._probe()
        self.open = False  # in the same step as the probe's last: what is changed from now on goes to Redis
        if self.outages != outages_before:
            self.tell_back()

    def _warn(self, exc: BaseException) -> None:
        self.outages += 1
        self.tell_away(exc)

    def tell_away(self, exc: BaseException) -> None:
        """Say, once an outage, that Redis is away."""
        self._log.warning("Cache goes on without Redis", context=where(exc))

    def tell_back(self) -> None:
        """Say that it is back."""
        self._log.info("Cache has Redis again")
