"""The upkeep tasks, each run once in its slot of time however many beats or messages there are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from celery import Celery

from infrastructure.core.error_core import StoreError, StoreFull
from infrastructure.core.redis_core import store_errors
from workers import queues
from workers.handlers import upkeep
from workers.jobs.models import ReadyClass
from workers.pool.bridge import await_
from workers.runtime.process import Process
from workers.runtime.runtime import Runtime
from workers.schedule import PROMOTE_S, WEBHOOKS_S

LOOKS_REMEMBERED = 2.4  # two looks, with room for one that came late
LONG_LIMIT_S = 86_400
SUSPECTS_IN_A_ROW = 1_000
WITHOUT_BEAT_AFTER = 1.2  # intervals; sweeps with a gap of half a lease would rescue nobody
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

    async def promote(runtime: Runtime) -> dict[str, Any]:
        return await upkeep.promote(runtime.store, ring=runtime.bell.ring)

    async def health(runtime: Runtime) -> dict[str, Any]:
        try:
            return await runtime.prober.round(runtime.latest)
        except TimeoutError:
            runtime.log.warning("Health checks took too long, and were given up")
            return {"status": "given_up"}

    async def suspect(runtime: Runtime) -> dict[str, Any]:
        if process.suspect_running.locked():
            return {"status": "another_runs"}
        async with process.suspect_running:
            ran = 0
            while ran < SUSPECTS_IN_A_ROW and "job" in await runtime.run_job("", classes=(ReadyClass.SUSPECT,)):
                ran += 1
            return {"ran": ran}

    return {
        queues.TASK_RESCUE: rescue,
        queues.TASK_RING: ring,
        queues.TASK_EXPIRE: expire,
        queues.TASK_PROMOTE: promote,
        queues.TASK_HEALTH: health,
        queues.TASK_SUSPECT: suspect,
        queues.TASK_WEBHOOKS: _send_webhooks,
    }


async def _send_webhooks(runtime: Runtime) -> dict[str, Any]:
    """Begin to send what is due; the sends go on when the task has ended."""
    return await runtime.webhooks.pump()


def _register_one(app: Celery, process: Process, name: str, work: Work) -> None:
    # Without events: an idle service would fill Flower's list of tasks with upkeep.
    # A suspect's run is as long as its call, and a check as long as it is configured to be.
    long = name in {queues.TASK_SUSPECT, queues.TASK_HEALTH}
    soft_s = LONG_LIMIT_S if long else queues.UPKEEP_SOFT_LIMIT_S

    @app.task(name=name, ignore_result=True, send_events=False, soft_time_limit=soft_s, time_limit=soft_s + GRACE_S)
    def task(every_s: float) -> dict[str, Any]:
        return await_(_once_a_slot(process.runtime, name, every_s, work))


async def keep_up(process: Process) -> None:
    """Do the short tasks without beat when nobody did them for more than their interval, until cancelled.

    Beat may be dead, its clock set back, or its messages refused by a full Redis; a job must be rescued all the same.
    """
    heartbeat_s = process.runtime.settings.jobs.heartbeat_s
    often, seldom = (queues.TASK_PROMOTE,), (queues.TASK_RESCUE, queues.TASK_EXPIRE, queues.TASK_RING)
    await asyncio.gather(
        _keep_doing(process, often, PROMOTE_S),
        _keep_doing(process, seldom, heartbeat_s),
        _keep_doing(process, (queues.TASK_HEALTH,), queues.HEALTH_S),
        _keep_doing(process, (queues.TASK_WEBHOOKS,), WEBHOOKS_S),
    )


async def _keep_doing(process: Process, names: Sequence[str], every_s: float) -> None:
    works, every_s = _works(process), WITHOUT_BEAT_AFTER * every_s
    while True:
        await asyncio.sleep(every_s)
        for name in names:
            try:
                await _once_a_slot(process.runtime, name, every_s, works[name])
            except Exception as exc:  # noqa: BLE001  the next round must come
                process.runtime.log.error("Upkeep failed", context={"operation": name}, exc=exc)


async def _once_a_slot(runtime: Runtime, name: str, every_s: float, work: Work) -> dict[str, Any]:
    """Run the work unless it ran less than four fifths of its interval ago, by Redis.

    The mark is a key with that expiry: slots of the clock would drop a message that comes a little early. A Redis too full
    to take the mark is no reason to wait: what upkeep does frees memory, and doing it twice is harmless.
    """
    mark = f"{runtime.settings.redis.prefix}:slot:{name}"
    try:
        try:
            with store_errors():
                free = await runtime.redis.set(mark, runtime.owner, nx=True, px=int(every_s * 800))
        except StoreFull:
            free = True
        return await work(runtime) if free else {"status": "done_in_this_slot"}
    except StoreError as exc:
        runtime.errors.handle(exc, {"operation": name})
        return {"status": exc.code}
