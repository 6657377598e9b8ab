"""Ending asyncio tasks for certain, and waiting for no longer than was said."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from typing import Any, TypeVar

AGAIN_S = 0.1
TRIES = 50
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
        if not task.done():
            task.add_done_callback(_forget)
            _insist(task, TRIES)
    raise TimeoutError


def _insist(task: asyncio.Future[Any], tries: int) -> None:
    if tries and not task.done():
        task.cancel()
        asyncio.get_running_loop().call_later(AGAIN_S, _insist, task, tries - 1)


def _forget(task: asyncio.Future[Any]) -> None:
    """Look at how a task ended, so that asyncio does not complain that nobody did."""
    if not task.cancelled():
        task.exception()
