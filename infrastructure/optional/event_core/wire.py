"""Events over Redis pub/sub: one channel, subscribed again whenever the connection was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from infrastructure.core.logger_core import CoreLogger, where
from infrastructure.optional.event_core.events import Event, decode

SEND_S = 2.0
IDLE_S = 10.0  # after this much silence the server is asked whether it is there
MAX_SILENCES = 2
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 2.0


class Wire:
    """Sends to a channel and listens to it; what is said while nobody listens is lost."""

    def __init__(self, redis: Redis, *, channel: str, log: CoreLogger) -> None:
        self._redis = redis
        self._channel = channel
        self._log = log
        self.connected = False

    async def send(self, raw: bytes) -> bool:
        """Publish; False when Redis did not take it within 2 s."""
        try:
            async with asyncio.timeout(SEND_S):
                await self._redis.publish(self._channel, raw)
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    async def listen(self, heard: Callable[[Event], None]) -> None:
        """Pass on each event until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                await self._listen(heard)
            except (RedisError, OSError, TimeoutError) as exc:
                if self.connected:
                    self._log.info("Events of the fleet are not heard, trying again", context=where(exc))
                pause_s = FIRST_PAUSE_S if self.connected else min(2 * pause_s, LAST_PAUSE_S)
            finally:
                self.connected = False
            await asyncio.sleep(pause_s)

    async def _listen(self, heard: Callable[[Event], None]) -> None:
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(self._channel)
            silences = 0
            while silences <= MAX_SILENCES:
                message = await pubsub.get_message(timeout=IDLE_S)
                silences = 0 if message else silences + 1
                if message:
                    self._pass_on(message, heard)
                else:
                    await pubsub.ping("there")
        raise TimeoutError

    def _pass_on(self, message: dict[str, Any], heard: Callable[[Event], None]) -> None:
        if message["type"] == "subscribe":
            self.connected = True
        elif message["type"] == "message":
            try:
                event = decode(message["data"])
            except ValueError:  # somebody else's words on our channel
                return
            heard(event)
