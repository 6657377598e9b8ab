"""Named points of a submit at which the front door kills itself, put around the product's own functions from outside.

Armed by `arm()` in the process before its `main`; `CHAOS_POINT` names the point, and it strikes only while the file
`CHAOS_ARMED` exists, so that a process can be brought up and used before.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

SUBMIT = "/api/v1/completion"
POINTS = {
    "before_auth": 0,
    "after_auth": 0,
    "after_body_read": 0,
    "after_validation": 0,
    "before_script": 0,
    "script_ran_unanswered": 1,
    "after_answer": 1,
    "before_bell": 1,
    "bell_queued": 1,
    "during_publish": 1,
    "before_202": 1,
    "after_202": 1,
}
"""A point -> how many jobs its submit has made when the process dies there."""
_made_while_armed: set[str] = set()


def arm() -> None:
    """Wrap the functions around the point that this process is to die at."""
    point = os.environ["CHAOS_POINT"]
    assert point in POINTS, point
    for wrap in (_auth, _body, _validation, _store, _bell, _answer):
        wrap(point)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()  # the signal ends every thread, whichever it reaches first


def _armed() -> bool:
    return Path(os.environ["CHAOS_ARMED"]).exists()


def _around(owner: Any, name: str, *, before: bool = False, after: bool = False) -> None:
    """Die before or after a coroutine function does its work."""
    original = getattr(owner, name)

    @wraps(original)
    async def dying(*args: Any, **named: Any) -> Any:
        if before and _armed():
            _die()
        value = await original(*args, **named)
        if after and _armed():
            _die()
        return value

    setattr(owner, name, dying)


def _after(owner: Any, name: str) -> None:
    original = getattr(owner, name)

    @wraps(original)
    def dying(*args: Any, **named: Any) -> Any:
        value = original(*args, **named)
        if _armed():
            _die()
        return value

    setattr(owner, name, dying)


def _auth(point: str) -> None:
    from api.keys import auth

    original = auth._principal

    async def dying(front: Any, scope: Any) -> Any:
        submits = scope["path"] == SUBMIT and _armed()
        if submits and point == "before_auth":
            _die()
        found = await original(front, scope)
        if submits and point == "after_auth":
            _die()
        return found

    auth._principal = dying


def _body(point: str) -> None:
    from api.routes import completion

    if point == "after_body_read":
        _around(completion, "read_json", after=True)


def _validation(point: str) -> None:
    from api.routes import completion

    if point == "after_validation":
        _after(completion, "_new_job")


def _store(point: str) -> None:
    from workers.jobs.store.job_store import JobStore

    original = JobStore._run

    async def dying(store: Any, name: str, *args: Any) -> Any:
        if name != "submit" or not _armed():
            return await original(store, name, *args)
        _made_while_armed.add(str(args[0]))
        if point == "before_script":
            _die()
        if point == "script_ran_unanswered":
            await _until_ran(store, asyncio.ensure_future(original(store, name, *args)), str(args[0]))
        answer = await original(store, name, *args)
        if point == "after_answer":
            _die()
        return answer

    JobStore._run = dying  # type: ignore[assignment, method-assign]


async def _until_ran(store: Any, asked: asyncio.Future[Any], job_id: str) -> None:
    """Die once the server has run the script, with the store still waiting for its answer."""
    import redis as sync_redis

    client = sync_redis.Redis.from_url(os.environ["REDIS_URL"])
    while not client.exists(f"{store._prefix}:job:{job_id}"):  # noqa: ASYNC110  it happens in the server
        await asyncio.sleep(0)
    assert not asked.cancelled()
    _die()


def _bell(point: str) -> None:
    from workers.jobs.bell import Bell

    ring, publish = Bell.ring, Bell._publish

    def dying_ring(bell: Any, job_id: str | None = None) -> None:
        if point == "before_bell" and _armed():
            _die()
        ring(bell, job_id)
        if point == "bell_queued" and _armed():
            _die()

    def dying_publish(bell: Any, producer: Any, job_id: Any) -> None:
        publish(bell, producer, job_id)  # into the batch, which is sent when it is closed
        if point == "during_publish" and job_id in _made_while_armed:
            _die()

    Bell.ring, Bell._publish = dying_ring, dying_publish  # type: ignore[assignment, method-assign]


def _answer(point: str) -> None:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    original: Callable[..., Any] = RequestResponseCycle.send

    async def dying(cycle: Any, message: Any) -> None:
        submits = cycle.scope["path"] == SUBMIT and _armed()
        if submits and point == "before_202" and message["type"] == "http.response.start":
            _die()
        await original(cycle, message)
        if submits and point == "after_202" and message["type"] == "http.response.body":
            await asyncio.sleep(0.05)  # uvloop writes at the end of its turn
            _die()

    RequestResponseCycle.send = dying  # type: ignore[assignment, method-assign]
