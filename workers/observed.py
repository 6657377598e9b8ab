"""Figures of a process that has no event loop of its own: beat, and Flower, whose loop is Tornado's business."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from infrastructure.core.config_core import Settings
from infrastructure.core.performance_core.observing import observe
from infrastructure.core.redis_core import connect

CONNECTIONS = 2
END_S = 3.0


@contextmanager
def observed(settings: Settings, *, kind: str) -> Iterator[None]:
    """Publish this process's figures from a thread while the block runs; without a Redis there is nobody to tell."""
    if settings.redis.url is None:
        yield
        return
    url, ended = settings.redis.url.get_secret_value(), threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_publish(settings, url, kind, ended)), name="metrics", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(END_S)


async def _publish(settings: Settings, url: str, kind: str, ended: threading.Event) -> None:
    async with connect(url, max_connections=CONNECTIONS) as redis:
        observation = observe(settings, redis, kind=kind)
        observation.start()
        try:
            await asyncio.to_thread(ended.wait)
        finally:
            await observation.stop()
