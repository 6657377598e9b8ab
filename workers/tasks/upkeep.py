"""The upkeep tasks, each run once in its slot of time however many beats or messages there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from celery import Celery

from infrastructure.core.error_core import StoreError
from infrastructure.core.redis_core import store_errors
from workers import queues
from workers.handlers import upkeep
from workers.jobs.models import ReadyClass
from workers.pool.bridge import await_
from workers.runtime.process import Process
from workers.runtime.runtime import Runtime

LOOKS_REMEMBERED = 2.4  # two looks, with room for one that came late
LONG_LIMIT_S = 86_400
GRACE_S = 30
Work = Callable[[Runtime], Awaitable[dict[str, Any]]]


def register(app: Celery, process: Process) -> None:
    """Add the tasks to an app; their bodies run on the loop of `process`."""
    for name, work in _works(process).items():
        _register_one(app, process, name, work)


def _works(process: Process) -> dict[str, Work]:
    async def rescue(runtime: Runtime) -> dict[str, Any]:
        return await upkeep.rescue(runtime.store, ring=runtime.bell.ring, log=runtime.log, events=runtime.events)

    async def ring(runtime: Runtime) -> dict[str, Any]:
        prefix = runtime.settings.redis.prefix
        broker_list = f"{queues.broker_prefix(runtime.settings)}{queues.COMPLETIONS}"
        remember_ms = int(runtime.settings.jobs.heartbeat_s * LOOKS_REMEMBERED * 1000)
        ringer = upkeep.Ringer(runtime.redis, runtime.broker, broker_list, f"{prefix}:ringer", remember_ms)
        return await ringer.look(runtime.store, ring=runtime.bell.ring, log=runtime.log)

    async def expire(runtime: Runtime) -> dict[str, Any]:
        return await upkeep.expire(runtime.store, log=runtime.log)

    async def suspect(runtime: Runtime) -> dict[str, Any]:
        if process.suspect_running.locked():
            return {"status": "another_runs"}
        async with process.suspect_running:
            return await runtime.run_job("", classes=(ReadyClass.SUSPECT,))

    return {
        queues.TASK_RESCUE: rescue,
        queues.TASK_RING: ring,
        queues.TASK_EXPIRE: expire,
        queues.TASK_SUSPECT: suspect,
    }


def _register_one(app: Celery, process: Process, name: str, work: Work) -> None:
    # A suspect's run is as long as its call, so the limits of the short ones are not its limits.
    long = name == queues.TASK_SUSPECT
    soft_s = LONG_LIMIT_S if long else queues.UPKEEP_SOFT_LIMIT_S

    @app.task(name=name, ignore_result=True, soft_time_limit=soft_s, time_limit=soft_s + GRACE_S)
    def task(every_s: float) -> dict[str, Any]:
        return await_(_once_a_slot(process.runtime, name, every_s, work))


async def _once_a_slot(runtime: Runtime, name: str, every_s: float, work: Work) -> dict[str, Any]:
    """Run the work unless it ran in this slot of Redis time already."""
    try:
        with store_errors():
            seconds, micros = await runtime.redis.time()
            slot = int((seconds + micros / 1e6) / every_s)
            key = f"{runtime.settings.redis.prefix}:slot:{name}:{slot}"
            if not await runtime.redis.set(key, runtime.owner, nx=True, px=int(every_s * 4_000)):
                return {"status": "done_in_this_slot"}
        return await work(runtime)
    except StoreError as exc:
        runtime.errors.handle(exc, {"operation": name})
        return {"status": exc.code}
