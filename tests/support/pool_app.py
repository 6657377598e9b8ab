"""A Celery app whose tasks show, through Redis, what the pool does with their bodies."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

import redis.asyncio as aioredis
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from infrastructure.core.redis_core import celery_url
from workers.pool.bridge import Interrupted, await_
from workers.pool.task_pool import TaskPool

URL = os.environ.get("POOL_APP_REDIS", "unix:///nowhere")

app = Celery("pool_app")
app.conf.update(
    broker_url=celery_url(URL),
    broker_transport_options={
        "socket_timeout": 30, "socket_connect_timeout": 5, "health_check_interval": 25,
        "unacked_restore_interval": 5, "unacked_restore_throttle": 1, "unacked_mutex_expire": 30,
        "ack_emulation": os.environ.get("POOL_APP_ACKS", "1") == "1",
    },
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_default_queue="pool",
    task_ignore_result=True,
    task_acks_late=False,
    task_serializer="json",
    accept_content=["json"],
    worker_consumer="workers.pool.consumer:Consumer",
    worker_disable_prefetch=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_hijack_root_logger=False,
)  # fmt: skip

seen = ContextVar("seen", default="nothing")
gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
counts: defaultdict[str, int] = defaultdict(int)
runtime: dict[str, aioredis.Redis] = {}


@asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    """Hold a Redis client and open the gates that a test names on the list `open`."""
    if "POOL_APP_FAIL" in os.environ:
        raise RuntimeError("as asked")
    pool = aioredis.BlockingConnectionPool.from_url(URL, max_connections=20, timeout=20)
    runtime["redis"] = client = aioredis.Redis(connection_pool=pool)
    opener = asyncio.create_task(_open_gates())
    await client.rpush("life", "start")
    yield
    opener.cancel()
    await client.rpush("life", "stop")
    await client.aclose()
    await pool.disconnect()


async def _open_gates() -> None:
    client = aioredis.Redis.from_url(URL, decode_responses=True)
    while True:
        try:
            named = await client.blpop(["open"], timeout=1)
        except aioredis.RedisError:
            await asyncio.sleep(0.1)  # the server is being restarted
            continue
        if named:
            gates[str(named[1])].set()


async def note(key: str, value: str) -> None:
    """Append to a list that a test reads."""
    await runtime["redis"].rpush(key, value)


async def drain() -> None:
    """Show that the shutdown was announced."""
    await note("life", "drain")


TaskPool.prepare(
    app,
    lifespan=lifespan,
    drain=drain,
    drain_s=float(os.environ.get("POOL_APP_DRAIN_S", "10")),
    grace_s=float(os.environ.get("POOL_APP_GRACE_S", "1")),
    stop_s=float(os.environ.get("POOL_APP_STOP_S", "5")),
    liveness_file=Path(os.environ["POOL_APP_ALIVE"]) if "POOL_APP_ALIVE" in os.environ else None,
    liveness_s=0.2,
)


def limits(soft_s: float, hard_s: float | None) -> dict[str, Any]:
    """Return options of a task; the stubs take whole seconds only."""
    return {"soft_time_limit": soft_s, "time_limit": hard_s}


@app.task(name="ok")
def ok(value: Any) -> Any:
    """Return what it got, after an await."""

    async def body() -> Any:
        await asyncio.sleep(0)
        return value

    return await_(body())


@app.task(name="noop")
def noop() -> None:
    """Await nothing worth waiting for."""
    await_(asyncio.sleep(0))


@app.task(name="nap")
def nap(seconds: float) -> None:
    """Sleep."""
    await_(asyncio.sleep(seconds))


@app.task(name="error")
def error() -> None:
    """Raise an ordinary exception from the coroutine."""

    async def body() -> NoReturn:
        await asyncio.sleep(0)
        raise ValueError("as asked")

    await_(body())


@app.task(name="cancelled")
def cancelled() -> None:
    """Raise CancelledError, as a library's cancelled future does."""

    async def body() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    await_(body())


@app.task(name="exits")
def exits() -> None:
    """Raise SystemExit in the shell."""
    raise SystemExit(3)


@app.task(name="exits_inside")
def exits_inside() -> None:
    """Raise SystemExit in the coroutine."""

    async def body() -> NoReturn:
        raise SystemExit(3)

    await_(body())


@app.task(name="hold", bind=True)
def hold(self: Any, gate: str) -> str:
    """Wait until the gate opens, counting who waits; show how it ended."""
    return await_(_held(gate, self.request.id))


async def _held(gate: str, task_id: str) -> str:
    counts[gate] += 1
    counts[f"peak {gate}"] = max(counts[f"peak {gate}"], counts[gate])
    end = "cancelled"
    try:
        await note(f"began:{gate}", task_id)
        await gates[gate].wait()
        end = "opened"
    except Interrupted as exc:
        end = type(exc).__name__
        raise
    finally:
        counts[gate] -= 1
        await note(f"ended:{gate}", f"{task_id} {end}")
        await runtime["redis"].set(f"peak:{gate}", counts[f"peak {gate}"])
    return end


@app.task(name="stubborn")
def stubborn(gate: str) -> None:
    """Take no notice of any interruption."""
    await_(_stubborn(gate))


async def _stubborn(gate: str) -> None:
    await note(f"began:{gate}", "stubborn")
    while not gates[gate].is_set():
        try:
            await gates[gate].wait()
        except asyncio.CancelledError as exc:
            await note(f"ended:{gate}", type(exc).__name__)


@app.task(name="lingers")
def lingers(gate: str) -> None:
    """Take its time to end once it is interrupted."""
    await_(_lingers(gate))


async def _lingers(gate: str) -> None:
    try:
        await _held(gate, "lingers")
    finally:
        await gates[f"{gate} last"].wait()


@app.task(name="softly", **limits(0.3, 20))
def softly(gate: str) -> str:
    """Meet the soft limit in the coroutine and in the shell, and end in order."""
    try:
        await_(_held(gate, "coroutine"))
    except SoftTimeLimitExceeded:
        await_(note(f"ended:{gate}", "shell SoftTimeLimitExceeded"))
    return "in order"


@app.task(name="softly_not", **limits(0.3, None))
def softly_not(gate: str) -> None:
    """Meet the soft limit and do nothing about it."""
    await_(_held(gate, "coroutine"))


@app.task(name="hardly", **limits(0.2, 0.5))
def hardly(gate: str) -> None:
    """Take the soft limit lightly and meet the hard one."""
    try:
        await_(_held(gate, "first"))
    except SoftTimeLimitExceeded:
        await_(_held(gate, "second"))


@app.task(name="context")
def context(value: str) -> str:
    """Answer what the context variable held before and after it was set here."""
    before = seen.get()
    seen.set(value)

    async def body() -> str:
        await asyncio.sleep(0.05)
        inside = seen.get()
        seen.set(f"{value} changed")
        return inside

    inside = await_(body())
    answer = f"{before} {inside} {seen.get()}"
    await_(note("context", answer))
    return answer


@app.task(name="waits")
def waits(gate: str) -> None:
    """Be interrupted under wait_for and gather, whose inner tasks must not stay behind."""
    await_(_waits(gate))


async def _waits(gate: str) -> None:
    await note(f"began:{gate}", "waits")
    try:
        await asyncio.wait_for(asyncio.gather(_held(gate, "a"), _held(gate, "b")), 60)
    except Interrupted as exc:
        await note(f"ended:{gate}", f"outer {type(exc).__name__}")
        raise


@app.task(name="hold_late", acks_late=True)
def hold_late(gate: str) -> None:
    """Hold with the message unacknowledged."""
    await_(_held(gate, "late"))
