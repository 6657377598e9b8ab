"""What runs beside a process that has no event loop of its own (beat, and Flower, whose loop is Tornado's business)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.config_core import Settings
from infrastructure.core.logger_core import get_logger
from infrastructure.core.performance_core.observing import observe
from infrastructure.core.redis_check.advice import advise
from infrastructure.core.redis_core import connect

CONNECTIONS = 2
END_S = 3.0


@contextmanager
def observed(settings: Settings, *, kind: str) -> Iterator[None]:
    """Publish this process's figures, and look at Redis once, from a thread while the block runs; without a Redis nothing."""
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
    log = get_logger(settings.service.name, "redis")
    async with connect(url, max_connections=CONNECTIONS) as redis:
        observation = observe(settings, redis, kind=kind)
        observation.start()
        # The workers and the front door refuse what can never do; these are of no use without them.
        advising = asyncio.create_task(advise(settings, kind=kind, log=log, on_refused=lambda _: None))
        try:
            await asyncio.to_thread(ended.wait)
        finally:
            await end_tasks([advising])
            await observation.stop()
