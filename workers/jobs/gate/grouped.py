"""Gathers what many callers ask of Redis at one time into one call, without making a lone caller wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from infrastructure.core.asyncio_core import end_tasks

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MOST = 128


class Grouped(Generic[Item, Answer]):
    """Runs `run` on groups of items. Its clock is the answers': what is added while a group is under way goes with the next.

    A group that fails takes with it what is queued behind it, since that would meet the same Redis. An item whose caller has
    given up before its group was sent is left out. Used on one event loop.

    Args:
        run: returns one answer for each item, in order; never more than one call of it at a time.
        most: items of a group.
        patience_s: longest that a group may take; beyond it the group fails with TimeoutError.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Awaitable[Sequence[Answer]]],
        *,
        most: int = MOST,
        patience_s: float | None = None,
    ) -> None:
        self._run = run
        self._most = most
        self._patience_s = patience_s
        self._queue: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def add(self, item: Item) -> asyncio.Future[Answer]:
        """Queue an item; the future brings its answer, or what its group failed with."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._queue.append((item, answer))
        if self._task is None:
            self._task = loop.create_task(self._drain(), name="grouped")
        return answer

    async def flush(self) -> None:
        """Wait until all that is queued now has been answered."""
        waiting = [answer for _, answer in self._queue]
        if self._task is not None:
            waiting.append(self._task)  # type: ignore[arg-type]  # the group under way
        if waiting:
            await asyncio.wait(waiting)

    async def close(self) -> None:
        """End what is under way; whoever waits is told by a cancellation."""
        if self._task is not None:
            await end_tasks([self._task])

    async def _drain(self) -> None:
        group: list[tuple[Item, asyncio.Future[Answer]]] = []
        try:
            while group := self._next():
                answers = await self._answers([item for item, _ in group])
                for (_, future), answer in zip(group, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
        except asyncio.CancelledError:
            for _, future in (*group, *self._queue):
                future.cancel()
            self._queue.clear()
            raise
        except Exception as exc:  # noqa: BLE001  it is the callers': each of them raises it
            for _, future in (*group, *self._queue):
                _fail(future, exc)
            self._queue.clear()
        finally:
            self._task = None

    def _next(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        group: list[tuple[Item, asyncio.Future[Answer]]] = []
        while self._queue and len(group) < self._most:
            item, future = self._queue.popleft()
            if not future.done():
                group.append((item, future))
        return group

    async def _answers(self, items: list[Item]) -> Sequence[Answer]:
        async with asyncio.timeout(self._patience_s):
            return await self._run(items)


def _fail(future: asyncio.Future[Answer], exc: Exception) -> None:
    if not future.done():
        future.set_exception(exc)
        future.exception()  # a caller that gave up leaves nobody to hear of it: asyncio must not complain
