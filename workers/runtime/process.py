"""The place where a worker process keeps its one runtime, between the pool that starts it and the tasks that use it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.config_core import CoreConfig
from infrastructure.core.logger_core import get_logger
from infrastructure.core.redis_check.advice import advise
from workers.jobs.config_events import announced
from workers.runtime.life import WorkerLife
from workers.runtime.parts import parts_of
from workers.runtime.runtime import Runtime


class Process:
    """Builds the runtime on the pool's loop and takes it down there."""

    def __init__(self, config: CoreConfig, *, kind: str, calls_providers: bool, life: WorkerLife | None = None) -> None:
        self._config = config
        self._kind = kind
        self._calls_providers = calls_providers
        self._life = life
        self._started = False
        self._runtime: Runtime | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.suspect_running = asyncio.Lock()
        self.refused: list[str] = []
        """Why the process ends of its own accord and should not be started again as it is."""
        self.beside: Callable[[Process], Coroutine[Any, Any, None]] | None = None
        """What runs on the loop beside the tasks, until it is cancelled."""

    @property
    def runtime(self) -> Runtime:
        """Return the runtime; the pool has started it before the first task."""
        if self._runtime is None:
            raise RuntimeError("expected the pool to have started the runtime, got a task before it")
        return self._runtime

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Hold the runtime while the pool's loop runs."""
        self._loop = asyncio.get_running_loop()
        self._runtime = Runtime(self._config, kind=self._kind)
        async with self._shown(), parts_of(self._runtime, kind=self._kind):
            with announced(self._config, self._runtime.events.publish):
                await self._runtime.ready(call_providers=self._calls_providers)
                self._started = True
                beside = asyncio.create_task(self.beside(self)) if self.beside else None
                try:
                    yield
                finally:
                    if beside is not None:
                        await end_tasks([beside])

    @asynccontextmanager
    async def _shown(self) -> AsyncIterator[None]:
        """Show life from the loop, and what is lacking, and look at Redis once, while the block runs."""
        settings = self._config.settings
        log = get_logger(settings.service.name, "redis")
        work = [advise(settings, kind=self._kind, log=log, on_refused=self._refuse)]
        if self._life:
            work.append(self._life.keep(self._lacks))
        beside = [asyncio.create_task(one) for one in work]
        try:
            yield
        finally:
            await end_tasks(beside)

    def _refuse(self, why: str) -> None:
        """End this process: it cannot run on the Redis that it was given."""
        self.refused.append(why)
        os.kill(os.getpid(), signal.SIGTERM)

    def _lacks(self) -> tuple[str, ...]:
        return self.runtime.lacks() if self._started else ("start",)

    def cancel_soon(self, job_id: str) -> None:
        """Cancel a job from Celery's thread, without waiting for it."""
        if self._loop is not None and self._runtime is not None:
            asyncio.run_coroutine_threadsafe(self._runtime.cancel(job_id), self._loop)

    async def drain(self) -> None:
        """Pass on that the shutdown has begun."""
        await self.runtime.drain()
