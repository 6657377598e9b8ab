"""A part that is one endless piece of work in the background, such as a heartbeat or a subscription."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from infrastructure.core.asyncio_core import end_tasks


class Background:
    """Runs `work` from `start` to `stop`; work that ends before, by itself or by an error, fails the ping."""

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._name = name
        self._work = work
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the work."""
        self._task = asyncio.create_task(self._work(), name=self._name)

    async def stop(self) -> None:
        """End the work."""
        task, self._task = self._task, None
        if task is not None:
            if task.done() and not task.cancelled():
                task.exception()  # it was told by the ping; asyncio need not tell again that nobody asked
            await end_tasks([task])

    def ping(self) -> None:
        """Say by an exception that the work does not go on.

        Raises:
            RuntimeError: it was not started, or has ended.
            Exception: what the work failed with.
        """
        if self._task is None:
            raise RuntimeError(f"expected {self._name} to have been started")
        if not self._task.done():
            return
        if not self._task.cancelled() and (failure := self._task.exception()) is not None:
            raise failure
        raise RuntimeError(f"expected {self._name} to go on until it is stopped, got its end")
