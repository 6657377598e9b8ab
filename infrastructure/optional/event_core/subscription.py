"""One subscriber: its pattern, its filter, its own bounded queue and the task that serves it."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.logger_core import CoreLogger
from infrastructure.core.logger_core import where as place_of
from infrastructure.optional.event_core import patterns
from infrastructure.optional.event_core.events import Event

Handler = Callable[[Event], Awaitable[object] | object]
Filter = Callable[[Event], bool]


class Subscription:
    """Calls `handler` with each event that fits, one after the other, in the order of their arrival.

    What a handler raises is counted and logged; a call that takes longer than `deadline_s` seconds is stopped; when `queue`
    events wait, the oldest is dropped and counted. Nothing of this reaches the publisher or another subscriber. A handler
    that is not a coroutine function must not block.
    """

    def __init__(
        self, pattern: str, handler: Handler, *, where: Filter | None, queue: int, deadline_s: float, log: CoreLogger
    ) -> None:
        patterns.check(pattern)
        self.pattern = pattern
        self.handled = self.failed = self.dropped = 0
        self._handler = handler
        self._where = where
        self._deadline_s = deadline_s
        self._log = log
        self._waiting: deque[Event] = deque()
        self._most = queue
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve, once; needs a running loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._serve(), name=f"subscription {self.pattern}")

    async def stop(self) -> None:
        """Serve nothing more; what waits is dropped."""
        task, self._task = self._task, None
        if task is not None:
            await end_tasks([task])
        self._waiting.clear()

    def offer(self, event: Event) -> None:
        """Put an event in line if it fits; the filter of a subscriber that fails says no."""
        if not patterns.matches(self.pattern, event.topic) or not self._wanted(event):
            return
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(event)
        self._wake.set()

    def _wanted(self, event: Event) -> bool:
        if self._where is None:
            return True
        try:
            return self._where(event)
        except Exception as exc:  # noqa: BLE001  a subscriber's fault is its own
            self._fault(event, exc)
            return False

    async def _serve(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._handle(self._waiting.popleft())

    async def _handle(self, event: Event) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                result = self._handler(event)
                if inspect.isawaitable(result):
                    await result
            self.handled += 1
        except asyncio.CancelledError as exc:
            if _is_being_cancelled():
                raise
            self._fault(event, exc)  # what the handler waited for was cancelled: its own fault, too
        except Exception as exc:  # noqa: BLE001  a subscriber's fault is its own
            self._fault(event, exc)

    def _fault(self, event: Event, exc: BaseException) -> None:
        self.failed += 1
        self._log.warning("Subscriber failed", context={"topic": event.topic, "pattern": self.pattern, **place_of(exc)})


def _is_being_cancelled() -> bool:
    """Say whether somebody has cancelled the task that runs."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
