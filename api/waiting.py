"""Waiting for jobs to end or to move: one subscription for the whole process, any number of waiters, no polling."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from redis.asyncio import Redis
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from api.subscription import Subscription
from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.logger_core import CoreLogger
from workers.jobs import keys
from workers.jobs.models import Job

T = TypeVar("T")
Read = Callable[[], Awaitable[Job | None]]


class Waiters:
    """Those who wait for jobs, woken by the ids that arrive on the channel `{prefix}:done`.

    A waiter registers, then reads, then waits, so no end falls between. Whenever the subscription is made anew, whatever
    was said meanwhile is lost, and everybody reads again.
    """

    def __init__(self, redis: Redis, *, prefix: str, log: CoreLogger) -> None:
        self._prefix = prefix
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self.subscription = Subscription(redis, channel=keys.done(prefix), listener=self._hear, log=log)
        self.closing = False
        """Whoever waits or streams is to come to an end: the process stops."""

    def __len__(self) -> int:
        return sum(len(events) for events in self._waiting.values())

    @property
    def listening(self) -> bool:
        """Say whether ends are heard now."""
        return self.subscription.listening

    def start(self) -> None:
        """Subscribe, in the background, for as long as the process lives."""
        self.closing = False
        self.subscription.start()

    async def stop(self) -> None:
        """Send everybody home and end the subscription."""
        self.release()
        await self.subscription.stop()

    def ping(self) -> None:
        """Say by an exception that ends are not heard now (ConnectionError)."""
        self.subscription.ping()

    def lives(self) -> None:
        """Say by an exception that the subscription will not come back by itself (RuntimeError)."""
        self.subscription.lives()

    def release(self) -> None:
        """Let every waiter, now and from now on, come back at once with the job as it is."""
        self.closing = True
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

    @contextmanager
    def watching(self, job_id: str) -> Iterator[asyncio.Event]:
        """Give what is set whenever something happened to the job, its end included, or may have while nobody heard."""
        wake = asyncio.Event()

        def moved(_: bytes | None) -> None:
            wake.set()

        self._waiting.setdefault(job_id, set()).add(wake)
        try:
            with self.subscription.heard(keys.moved(self._prefix, job_id), moved):
                yield wake
        finally:
            self._forget(job_id, wake)

    async def _until_done(self, wake: asyncio.Event, read: Read) -> Job | None:
        while True:
            wake.clear()
            job = await read()
            if job is None or job.status.terminal or self.closing:
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

    def _hear(self, job_id: bytes | None) -> None:
        if job_id is None:
            self._wake_all()
        else:
            for event in self._waiting.get(job_id.decode("ascii", "replace"), ()):
                event.set()


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
