"""Work that has to be done to its end although whoever asked for it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from infrastructure.core.asyncio_core import end_tasks

T = TypeVar("T")


class Closing:
    """Tasks that outlive the tasks that began them, for as long as `drain` gives them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """Return how many go on."""
        return len(self._tasks)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin some work and return its task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the work returns; a cancel of the caller ends the wait, not the work."""
        return await asyncio.shield(self.begin(work))

    async def drain(self, *, within_s: float) -> None:
        """Wait for all that goes on, and for what it begins, then end it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while self._tasks and (left_s := deadline - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=left_s)
        await end_tasks(self._tasks.copy(), within_s=1)
