"""A process's one subscription to channels of Redis, whose messages go to whoever listens here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.logger_core import CoreLogger, where

Listener = Callable[[bytes | None], None]
"""Called with each message, and with None when the channel begins to be heard, at first and again after each loss of the
connection: what was said before is unknown then. It must not raise, and not take long."""

IDLE_S = 10.0  # after this much silence the server is asked whether it is there
MAX_SILENCES = 2
FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 1.0
TOLD_IN_ONE_GO = 500


class Subscription:
    """Hears one channel from its start on, and others for as long as somebody listens to them.

    Whoever listens registers first and reads then, and reads again at each None, so nothing falls between. A channel that
    nobody listens to costs this process nothing, however much is said on it.
    """

    def __init__(self, redis: Redis, *, channel: str, listener: Listener, log: CoreLogger) -> None:
        self._redis = redis
        self._channel = channel
        self._listener = listener
        self._log = log
        self._others: dict[str, set[Listener]] = {}
        self._told: set[str] = set()
        self._changed = asyncio.Event()
        self._pubsub: PubSub | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self.listening = False

    def __len__(self) -> int:
        """Return how many channels besides the first one somebody listens to."""
        return len(self._others)

    def start(self) -> None:
        """Subscribe, in the background, for as long as the process lives."""
        self._tasks = (
            asyncio.create_task(self._listen_for_ever(), name="subscription"),
            asyncio.create_task(self._tell_for_ever(), name="subscription's wishes"),
        )

    async def stop(self) -> None:
        """End the subscription."""
        tasks, self._tasks = self._tasks, ()
        await end_tasks(tasks)

    def ping(self) -> None:
        """Say by an exception that nothing is heard now.

        Raises:
            ConnectionError: there is no subscription, which comes back with Redis.
        """
        if not self.listening:
            raise ConnectionError("expected a subscription to the ends of jobs, got none")

    def lives(self) -> None:
        """Say by an exception that the subscription will not come back by itself.

        Raises:
            RuntimeError: it was not started, or a task of it has ended.
        """
        if not self._tasks or any(task.done() for task in self._tasks):
            raise RuntimeError("expected the subscription's task to go on, got its end")

    @contextmanager
    def heard(self, channel: str, listener: Listener) -> Iterator[None]:
        """Have a channel heard while the block runs."""
        self._others.setdefault(channel, set()).add(listener)
        self._changed.set()
        try:
            yield
        finally:
            listeners = self._others[channel]
            listeners.discard(listener)
            if not listeners:
                del self._others[channel]
                self._changed.set()

    async def _listen_for_ever(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError) as exc:
                if self.listening or pause == FIRST_PAUSE_S:
                    self._log.warning("Subscription lost, trying again", context=where(exc))
                pause = FIRST_PAUSE_S if self.listening else min(2 * pause, LAST_PAUSE_S)
            finally:
                self.listening = False
                self._pubsub = None
            await asyncio.sleep(pause)

    async def _listen(self) -> None:
        """Hear until the connection fails; the first thing heard is the subscription itself."""
        await self._redis.ping()  # a server that is still loading its data would accept the subscription
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(self._channel)
            self._pubsub = pubsub
            silences = 0
            while silences <= MAX_SILENCES:
                message = await pubsub.get_message(timeout=IDLE_S)
                silences = 0 if message else silences + 1
                if message:
                    self._hear(message)
                else:
                    await pubsub.ping("there")
        raise TimeoutError

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] not in {"message", "subscribe"}:
            return
        said = message["data"] if message["type"] == "message" else None
        channel = message["channel"].decode("utf-8", "replace")
        if channel != self._channel:
            for listener in tuple(self._others.get(channel, ())):
                listener(said)
            return
        if said is None:  # the first, or a silent reconnection of redis-py: the others are to be asked for again
            self.listening = True
            self._told.clear()
            self._changed.set()
        self._listener(said)

    async def _tell_for_ever(self) -> None:
        """Keep the server told of what is listened to; many changes at one time are one command."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            with contextlib.suppress(
                RedisError, OSError, TimeoutError
            ):  # then the connection ends, and all is told anew
                await self._tell()

    async def _tell(self) -> None:
        wanted = set(self._others)
        for command, channels in (("SUBSCRIBE", wanted - self._told), ("UNSUBSCRIBE", self._told - wanted)):
            names = sorted(channels)
            for start in range(0, len(names), TOLD_IN_ONE_GO):
                connection = self._pubsub and self._pubsub.connection
                if not connection or not connection.is_connected:
                    return  # a command would connect under the feet of the one who reads
                some = names[start : start + TOLD_IN_ONE_GO]
                self._told.update(some) if command == "SUBSCRIBE" else self._told.difference_update(some)
                await connection.send_command(command, *some, check_health=False)
