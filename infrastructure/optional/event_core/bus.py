"""The bus of one process: tells its subscribers at once, and the rest of the fleet over Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.logger_core import CoreLogger, get_logger
from infrastructure.optional.event_core.events import Event, decode, encode, new_event
from infrastructure.optional.event_core.subscription import Filter, Handler, Subscription
from infrastructure.optional.event_core.wire import Wire

MAX_LEAVING = 1_000
QUEUE = 100
HANDLER_S = 5.0


class EventBus:
    """Publishes and subscribes. Without a `redis` it stays within the process. Used on one event loop.

    An event is a hint, not a record: what is said while Redis is away, or faster than it takes it, is dropped and
    counted. Each process hears its own events once, without the way over Redis.

    Args:
        source: what this process calls itself in its events.
        redis: client without `decode_responses`; one connection is held for listening.
        prefix: of the channel `{prefix}:events`.
        log: for failures of subscribers and of the connection.
    """

    def __init__(
        self, source: str, *, redis: Redis | None = None, prefix: str = "aip", log: CoreLogger | None = None
    ) -> None:
        self.source = source
        self._log = log or get_logger("infrastructure", "events")
        self._subscriptions: list[Subscription] = []
        self._leaving: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._wire = None if redis is None else Wire(redis, channel=f"{prefix}:events", log=self._log)
        self._tasks: list[asyncio.Task[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._published = self._received = self._dropped = self._refused = 0

    def subscribe(
        self,
        pattern: str,
        handler: Handler,
        *,
        where: Filter | None = None,
        queue: int = QUEUE,
        deadline_s: float = HANDLER_S,
    ) -> Subscription:
        """Have a function called with every event whose topic fits a pattern and that a filter lets through.

        Args:
            pattern: see `patterns`.
            handler: called with one event at a time; may be a coroutine function.
            where: says of an event whether it is wanted.
            queue: how many events may wait for the handler; beyond it the oldest is dropped.
            deadline_s: longest a call may take, seconds.

        Raises:
            ValueError: the pattern is none.
        """
        subscription = Subscription(
            pattern, handler, where=where, queue=queue, deadline_s=deadline_s, log=self._log
        )  # fmt: skip
        self._subscriptions.append(subscription)
        if self._loop is not None:
            subscription.start()
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Call a subscriber no more."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
        await subscription.stop()

    def publish(self, topic: str, data: Mapping[str, Any] | None = None) -> None:
        """Tell that something happened. Never blocks, never fails; safe from any thread once the bus is started."""
        try:
            raw = encode(new_event(topic, data, source=self.source))
            event = decode(raw)  # here as elsewhere: JSON of its own, whatever becomes of the publisher's data
        except ValueError as exc:
            self._refused += 1
            self._log.error("Event was refused", exc=exc)
            return
        if self._loop is None or self._loop is _running_loop():
            self._tell(event, raw)
        else:
            with contextlib.suppress(RuntimeError):  # that loop has ended, and everybody who listened with it
                self._loop.call_soon_threadsafe(self._tell, event, raw)

    def start(self) -> None:
        """Begin to serve subscribers and, with Redis, to listen and to send."""
        self._loop = asyncio.get_running_loop()
        for subscription in self._subscriptions:
            subscription.start()
        if self._wire is not None:
            self._tasks = [
                asyncio.create_task(self._wire.listen(self._hear), name="events in"),
                asyncio.create_task(self._send_for_ever(self._wire), name="events out"),
            ]

    async def stop(self, *, within_s: float = 1.0) -> None:
        """Send what waits, as far as it goes within `within_s` seconds, and end everything."""
        if self._wire is not None and self._leaving and self._wire.connected:
            rest = asyncio.create_task(self._send_rest(self._wire))
            self._tasks.append(rest)
            await asyncio.wait({rest}, timeout=within_s)
        tasks, self._tasks = self._tasks, []
        await end_tasks(tasks)
        for subscription in self._subscriptions:
            await subscription.stop()
        self._loop = None

    def ping(self) -> None:
        """Say by an exception that the bus does not do its work.

        Raises:
            RuntimeError: it was not started, or one of its tasks has ended.
        """
        if self._loop is None or any(task.done() for task in self._tasks):
            raise RuntimeError("expected the event bus to run, got one that was not started or has ended")

    def get_metrics(self) -> dict[str, Any]:
        """Return counts of events: published here, received from the fleet, dropped, refused; of each subscriber, too."""
        return {
            "published": self._published,
            "received": self._received,
            "dropped": self._dropped + sum(one.dropped for one in self._subscriptions),
            "refused": self._refused,
            "connected": self._wire is not None and self._wire.connected,
            "subscribers": [
                {"pattern": one.pattern, "handled": one.handled, "failed": one.failed, "dropped": one.dropped}
                for one in self._subscriptions
            ],
        }

    def _tell(self, event: Event, raw: bytes) -> None:
        self._published += 1
        self._offer(event)
        if self._wire is None:
            return
        if len(self._leaving) >= MAX_LEAVING:
            self._leaving.popleft()
            self._dropped += 1
        self._leaving.append(raw)
        self._wake.set()

    def _hear(self, event: Event) -> None:
        if event.source != self.source:
            self._received += 1
            self._offer(event)

    def _offer(self, event: Event) -> None:
        for subscription in list(self._subscriptions):
            subscription.offer(event)

    async def _send_for_ever(self, wire: Wire) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._send_rest(wire)

    async def _send_rest(self, wire: Wire) -> None:
        while self._leaving:
            if not await wire.send(self._leaving.popleft()):
                self._dropped += 1


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
