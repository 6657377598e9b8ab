"""Ending asyncio tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN_S = 0.1


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
