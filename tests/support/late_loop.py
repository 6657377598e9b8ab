"""An event loop that is late, as on a machine with more to do than it has cores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from infrastructure.core.asyncio_core import end_tasks

BLOCKED_S = 0.15


@asynccontextmanager
async def late_loop(blocked_s: float = BLOCKED_S) -> AsyncIterator[None]:
    """Block the loop again and again, as a parser, a compressor or another process on the same core does."""

    async def block() -> None:
        while True:
            await asyncio.sleep(0.002)
            time.sleep(blocked_s)  # noqa: ASYNC251  a loop that is late is what is tested

    task = asyncio.create_task(block())
    try:
        yield
    finally:
        await end_tasks([task])
