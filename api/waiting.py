"""Waiting for jobs to end: one subscription for the whole process, any number of waiters, no polling."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.logger_core import CoreLogger, where
from workers.jobs.models import Job

T = TypeVar("T")
Read = Callable[[], Awaitable[Job | None]]

IDLE_S = 10.0  # after this much silence the server is asked whether it is there
MAX_SILENCES = 2
FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 1.0


class Waiters:
    """Those who wait for jobs, woken by the ids that arrive on the channel `{prefix}:done`.

    A waiter registers, then reads, then waits, so no end falls between. Whenever the subscription is made anew, whatever
    was said meanwhile is lost, and everybody reads again.
    """

    def __init__(self, redis: Redis, *, prefix: str, log: CoreLogger) -> None:
        self._redis = redis
        self._channel = f"{prefix}:done"
        self._log = log
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.listening = False

    def __len__(self) -> int:
        return sum(len(events) for events in self._waiting.values())

    def start(self) -> None:
        """Subscribe, in the background, for as long as the process lives."""
        self._closing = False
        self._task = asyncio.create_task(self._listen_for_ever(), name="waiters")

    async def stop(self) -> None:
        """Send everybody home and end the subscription."""
        self.release()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def ping(self) -> None:
        """Say by an exception that ends are not heard now.

        Raises:
            ConnectionError: there is no subscription, which comes back with Redis.
        """
        if not self.listening:
            raise ConnectionError("expected a subscription to the ends of jobs, got none")

    def lives(self) -> None:
        """Say by an exception that the subscription will not come back by itself.

        Raises:
            RuntimeError: it was not started, or its task has ended.
        """
        if self._task is None or self._task.done():
            raise RuntimeError("expected the subscription's task to go on, got its end")

    def release(self) -> None:
        """Let every waiter, now and from now on, come back at once with the job as it is."""
        self._closing = True
        self._wake_all()

    async def until_done(self, job_id: str, read: Read, *, timeout_s: float) -> Job | None:
        """Return the job once it has ended, or as it is after `timeout_s` seconds; None when `read` finds none."""
        wake = asyncio.Event()
        self._waiting.setdefault(job_id, set()).add(wake)
        try:
            async with asyncio.timeout(timeout_s) as limit:
                return await self._until_done(wake, read)
        except TimeoutError:
            if not limit.expired():
                raise
            return await read()
        finally:
            self._forget(job_id, wake)

    async def _until_done(self, wake: asyncio.Event, read: Read) -> Job | None:
        while True:
            wake.clear()
            job = await read()
            if job is None or job.status.terminal or self._closing:
                return job
            await wake.wait()

    def _forget(self, job_id: str, wake: asyncio.Event) -> None:
        events = self._waiting[job_id]
        events.discard(wake)
        if not events:
            del self._waiting[job_id]

    def _wake_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()

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
            await asyncio.sleep(pause)

    async def _listen(self) -> None:
        """Hear until the connection fails; the first thing heard is the subscription itself."""
        await self._redis.ping()  # a server that is still loading its data would accept the subscription
        async with self._redis.pubsub() as pubsub:
            await pubsub.subscribe(self._channel)
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
        if message["type"] == "message":
            for event in self._waiting.get(message["data"].decode("ascii", "replace"), ()):
                event.set()
        elif message["type"] == "subscribe":  # the first, or a silent reconnection of redis-py
            self.listening = True
            self._wake_all()


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` gives, unless the client goes away: then stop it.

    Raises:
        ClientDisconnect: nobody is there to be answered.
    """
    working, gone = asyncio.create_task(work), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        await end_tasks([working, gone])


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
