"""Ending asyncio tasks for certain, and waiting for no longer than was said."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from typing import Any, TypeVar

AGAIN_S = 0.1
TRIES = 50
TICKS = 5
LAST_PASSES = 8
"""What has arrived needs a few passes of the loop until it is an answer: read, parsed, handed on by each task in between."""
T = TypeVar("T")


async def end_tasks(tasks: Collection[asyncio.Task[Any]], *, within_s: float = 5.0) -> bool:
    """Cancel tasks until they have ended; False when some have not within `within_s` seconds.

    Once is not enough on Python 3.11: `asyncio.wait_for`, under which redis-py sends its commands, can swallow a
    cancellation that arrives as its work ends (github.com/python/cpython/issues/86296, mended in 3.12).
    """
    deadline = asyncio.get_running_loop().time() + within_s
    pending = set(tasks)
    while pending and asyncio.get_running_loop().time() < deadline:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_S)
    for task in tasks:  # how they ended is nobody's business any more: asyncio must not complain
        if task.done() and not task.cancelled():
            task.exception()
    return not pending


async def wait_free(future: asyncio.Future[T], limit_s: float) -> T:
    """Return what a future brings, or raise what it raises; `limit_s` counts only seconds in which the loop was free.

    A loop that was blocked finds the answer and the end of the time in the same pass, and to `asyncio.timeout` the time
    was over first: then the process's own lateness looks like somebody else's silence. Here the time is counted in a few
    ticks, each begun when the one before it was seen, so that a block costs one tick however long it was; and after the
    last one what has arrived is still looked at. The future itself is not cancelled.

    Raises:
        TimeoutError: the time is over.
    """
    ended = _Ended(limit_s)
    future.add_done_callback(ended.wake)
    try:
        await ended.woken
    finally:
        ended.timer.cancel()
        future.remove_done_callback(ended.wake)
    if not future.done():
        raise TimeoutError
    return future.result()


class _Ended:
    """Wakes when it is told to, or when its time is over."""

    def __init__(self, limit_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._tick_s = limit_s / TICKS
        self.woken: asyncio.Future[None] = self._loop.create_future()
        self.timer: asyncio.Handle = self._loop.call_later(self._tick_s, self._tick, TICKS - 1)

    def wake(self, _: object = None) -> None:
        if not self.woken.done():
            self.woken.set_result(None)

    def _tick(self, left: int) -> None:
        if left:
            self.timer = self._loop.call_later(self._tick_s, self._tick, left - 1)
        else:
            self._look(LAST_PASSES)

    def _look(self, passes: int) -> None:
        if passes:
            self.timer = self._loop.call_soon(self._look, passes - 1)
        else:
            self.wake()


async def within_free(work: Awaitable[T], limit_s: float) -> T:
    """Do as `within` does, with a limit as `wait_free` counts it.

    Raises:
        TimeoutError: the time is over.
    """
    task = asyncio.ensure_future(work)
    try:
        return await wait_free(task, limit_s)
    finally:
        _abandon(task)


async def within(work: Awaitable[T], limit_s: float) -> T:
    """Return what `work` returns, or raise what it raises; nobody waits for longer than `limit_s` seconds.

    `asyncio.timeout` cancels once, and waits on for ever where that is swallowed (see `end_tasks`). Here the work is a task of
    its own: when the time is over, or the caller is cancelled, it is cancelled until it has ended, and nobody waits for that.

    Raises:
        TimeoutError: the time is over.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task,), timeout=limit_s)
        if task.done():
            return task.result()
    finally:
        _abandon(task)
    raise TimeoutError


def _abandon(task: asyncio.Future[Any]) -> None:
    """Cancel a task until it has ended; nobody waits for it."""
    if not task.done():
        task.add_done_callback(_forget)
        _insist(task, TRIES)


def _insist(task: asyncio.Future[Any], tries: int) -> None:
    if tries and not task.done():
        task.cancel()
        asyncio.get_running_loop().call_later(AGAIN_S, _insist, task, tries - 1)


def _forget(task: asyncio.Future[Any]) -> None:
    """Look at how a task ended, so that asyncio does not complain that nobody did."""
    if not task.cancelled():
        task.exception()
