"""The memory of a worker process: above its limit it drains and exits, and its supervisor starts the next."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from infrastructure.core.logger_core import CoreLogger


async def watch_memory(limit_mb: Callable[[], float], *, every_s: float, log: CoreLogger) -> None:
    """Drain and exit above the memory limit, once."""
    while (resident := resident_mb()) < (limit := limit_mb()):  # noqa: ASYNC110  no event tells of memory
        await asyncio.sleep(every_s)
    log.warning("Memory limit is passed, draining", context={"resident_mb": resident, "limit_mb": limit})
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.Event().wait()  # until it is ended: once is enough


def resident_mb() -> float:
    """Return this process's resident memory in megabytes; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
