"""Writing to Redis: what many change in the same moment is sent in one go, in the order in which it was asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from infrastructure.core.asyncio_core import end_tasks, wait_free
from infrastructure.core.cache_core.circuit import FAILURES
from infrastructure.core.cache_core.scopes import Scope

BATCH = 64
BATCH_BYTES = 1_000_000
MOST_WAITING, MOST_WAITING_BYTES = 10_000, 32_000_000
"""Beyond these a value is not queued any more: Redis does not take them as fast as they come."""


@dataclass(frozen=True, slots=True)
class Change:
    """A script to run, and which values it changes.

    `until` is for one that writes a value: the instant of the loop's clock until which it is worth sending again to a Redis
    that could not be reached; None for one that forgets.
    """

    scope: Scope
    script: str
    keys: list[bytes]
    args: list[int | bytes]
    until: float | None = None

    @property
    def bytes(self) -> int:
        """Return about how long it is on its way to Redis."""
        return sum(len(one) for one in self.args if isinstance(one, bytes))


Answer: TypeAlias = bytes | OutOfMemoryError | None
"""The change's entry in the log, or why there is none; None when Redis failed."""
Waiting: TypeAlias = tuple[Change, asyncio.Future[Answer]]
Sent: TypeAlias = Awaitable[list[Answer]]


class Changes:
    """Changes in batches, one at a time: 2,000 at once are some thirty questions, and no change overtakes an earlier one.

    `bounded` limits the time of a batch; `patience_s` that of one who waits, whose change is made all the same. `on_failure`
    is told each change that Redis may not have made.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        bounded: Callable[[Sent], Sent],
        on_failure: Callable[[Change], None],
        patience_s: float,
    ) -> None:
        self._redis = redis
        self._bounded = bounded
        self._on_failure = on_failure
        self._patience_s = patience_s
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None

    async def make(self, change: Change) -> Answer:
        """Make a change.

        Raises:
            TimeoutError: it takes too long.
        """
        return await wait_free(self.put(change), self._patience_s)

    def put(self, change: Change) -> asyncio.Future[Answer]:
        """Queue a change behind all others; the future brings its answer."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, future))
        self._bytes += change.bytes
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="cache-changes")
        return future

    @property
    def full(self) -> bool:
        """Say whether as much waits as may."""
        return len(self._waiting) >= MOST_WAITING or self._bytes >= MOST_WAITING_BYTES

    async def idle(self) -> None:
        """Wait until every change has been made, or has failed."""
        while self._task is not None and not self._task.done():
            await asyncio.wait((self._task,))

    async def close(self) -> None:
        """End the batch under way; whoever waits is told that Redis failed."""
        if self._task is not None:
            await end_tasks([self._task])
        self._fail(())

    async def _run(self) -> None:
        while self._waiting:
            batch = self._next()
            try:
                answers = await self._bounded(self._send([change for change, _ in batch]))
            except FAILURES:
                self._fail(batch)
            except BaseException:
                self._fail(batch)
                raise
            else:
                for (_, future), answer in zip(batch, answers, strict=True):
                    _tell(future, answer)

    def _next(self) -> list[Waiting]:
        batch, size = [self._waiting.popleft()], 0
        while (size := size + batch[-1][0].bytes) < BATCH_BYTES and self._waiting and len(batch) < BATCH:
            batch.append(self._waiting.popleft())
        self._bytes -= size
        return batch

    async def _send(self, changes: list[Change]) -> list[Answer]:
        pipe = self._redis.pipeline(transaction=False)
        for change in changes:
            pipe.eval(change.script, len(change.keys), *change.keys, *change.args)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, OutOfMemoryError):
                raise answer
        return answers

    def _fail(self, batch: Iterable[Waiting]) -> None:
        """Let nobody wait for a Redis that has just failed."""
        for change, future in (*batch, *self._waiting):
            self._on_failure(change)
            _tell(future, None)
        self._waiting.clear()
        self._bytes = 0


def _tell(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)
