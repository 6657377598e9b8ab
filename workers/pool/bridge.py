"""The bridge between Celery's synchronous tracer and coroutines: a greenlet on the event loop that can await.

The tracer and the task shell run in a greenlet; `await_` hands a coroutine to the greenlet's parent, which is the
asyncio task that drives it, and switches back with the coroutine's value. SQLAlchemy's asyncio layer works this way.
Contextvars are the asyncio task's own: what the shell sets the coroutine sees, and no other task does. Celery's
`current_task` and `self.request` belong to the greenlet: read them in the shell and pass on what the coroutine needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any, Protocol, TypeVar
from weakref import ReferenceType, ref

import greenlet
from celery.exceptions import SoftTimeLimitExceeded

T = TypeVar("T")


class Interrupted(asyncio.CancelledError):
    """The pool asks a body to end now; a body has a few seconds to clean up.

    Clean up inside the `except` or `finally` block: a coroutine that has left it and still goes on is interrupted again.
    Each kind is a `CancelledError`, so that every library on the way unwinds as it does for a cancelled task.
    """


class SoftLimit(Interrupted):
    """The soft time limit has passed. In the shell it arrives as Celery's `SoftTimeLimitExceeded`."""


class HardLimit(Interrupted):
    """The hard time limit has passed; whatever the body still returns is not looked at."""


class Revoked(Interrupted):
    """Somebody revoked the task with `terminate`: its work is not wanted any more."""


class Drained(Interrupted):
    """The process is going down: hand the work back, another process will do it."""


class Mailbox(Protocol):
    """Where a body's next interruption waits; None when it has none."""

    def take(self) -> Interrupted | None:
        """Return the interruption and forget it."""

    def repeat(self) -> None:
        """Hear that the interruption was lost on its way; may send it again."""


class _Body(greenlet.greenlet):  # type: ignore[misc]  # greenlet has no types
    """The greenlet of a task body; `await_` works in nothing else."""


def await_(work: Coroutine[Any, Any, T]) -> T:
    """Return the value of a coroutine to the synchronous task shell that calls this.

    Raises:
        RuntimeError: outside a task body of this pool.
        SoftTimeLimitExceeded: the soft time limit has passed.
        Interrupted: the pool asks the body to end.
    """
    body = greenlet.getcurrent()
    if not isinstance(body, _Body) or body.parent is None:
        work.close()
        raise RuntimeError("expected await_ to be called in a task body of workers.pool, got another place")
    value: T = body.parent.switch(work)
    return value


async def run_body(shell: Callable[[], T], mailbox: Mailbox) -> T:
    """Run a synchronous shell in a greenlet of its own and await for it what it hands over."""
    driver = greenlet.getcurrent()
    body = _Body(shell, driver)
    body.gr_context = driver.gr_context
    step = body.switch()
    while not body.dead:
        try:
            value = await _relay(step, mailbox)
        except SoftLimit:
            step = body.throw(SoftTimeLimitExceeded())
        except BaseException as exc:  # noqa: BLE001  whatever the coroutine raised belongs to the shell
            step = body.throw(exc)
        else:
            step = body.switch(value)
    result: T = step
    return result


@coroutine
def _relay(work: Coroutine[Any, Any, T], mailbox: Mailbox) -> Generator[Any, Any, T]:
    """Await a coroutine, turning the cancellation that the pool asked for into its reason.

    asyncio can only throw CancelledError into a task. This stands between the task and the coroutine, so that the
    coroutine's innermost await raises `Drained` or `Revoked` itself, and a cancellation of any other origin unchanged.

    Cancellations get lost: `asyncio.wait_for` of Python 3.11 (redis-py sends each command under it) returns its result
    when that came just before. An interruption that nobody holds any more, while the coroutine waits for the next
    thing, was lost so; hence only a weak reference to it is kept here.
    """
    resume: Callable[[], Any] | None = partial(work.send, None)
    delivered: ReferenceType[Interrupted] | None = None
    while resume is not None:
        try:
            waited_for = resume()
        except StopIteration as end:
            value: T = end.value
            return value
        resume = None
        if delivered is not None and delivered() is None:
            delivered = None
            mailbox.repeat()
        try:
            yield waited_for
        except GeneratorExit:
            work.close()
            raise
        except asyncio.CancelledError as exc:
            why = mailbox.take()
            delivered = ref(why) if why is not None else delivered
            resume = partial(work.throw, why or exc)
            del why
        except BaseException as exc:  # noqa: BLE001  a failed await is the coroutine's to handle
            resume = partial(work.throw, exc)
        else:
            resume = partial(work.send, None)
    raise AssertionError("unreachable: the coroutine is resumed until it returns")
