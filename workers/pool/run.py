"""One task body on the loop: begun, timed, interrupted, ended exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from billiard.einfo import ExceptionInfo
from celery.exceptions import WorkerLostError

from infrastructure.core.logger_core import get_logger
from workers.pool.bridge import HardLimit, Interrupted, SoftLimit, run_body

log = get_logger("ai-provider", "run")

_REPEATS = 10

Traced = tuple[int, Any, float | None]
"""What the tracer returns: failed (0 or 1), the value's repr or an ExceptionInfo, the run time in seconds."""


class Pool(Protocol):
    """What a run needs of its pool."""

    def post(self, fn: Callable[..., object], *args: Any) -> None:
        """Have the main thread call a function soon, in order."""

    def finish(self, run: Run) -> None:
        """Account for a run that ended (main thread)."""

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Stop the body of a run (main thread)."""


@dataclass(slots=True, weakref_slot=True, eq=False, kw_only=True)
class Run:
    """A body and its callbacks. The main thread owns `terminated`, the loop owns the rest once the run has begun."""

    pool: Pool
    pid: int
    task_id: str
    target: Callable[..., Traced]
    args: tuple[Any, ...]
    callback: Callable[[Traced], object]
    accept_callback: Callable[[int, float], object]
    timeout_callback: Callable[[bool, float], object]
    soft_s: float | None
    hard_s: float | None
    grace_s: float
    terminated: bool = False
    overdue: bool = False
    result: Traced | None = None
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _pending: Interrupted | None = field(default=None, init=False)
    _repeats: int = field(default=0, init=False)
    _why: type[Interrupted] | None = field(default=None, init=False)
    _underway: bool = field(default=False, init=False)
    _ended: bool = field(default=False, init=False)

    def terminate(self, signal: int | None = None) -> None:
        """Stop the body; Celery calls this on what `apply_async` returned."""
        self.pool.terminate_job(self.pid, signal)

    def begin(self) -> None:
        """Start the body (loop thread)."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._drive())
        if self.soft_s:
            self._timer = loop.call_later(self.soft_s, self._on_soft)
        elif self.hard_s:
            self._timer = loop.call_later(self.hard_s, self._on_hard)

    def interrupt(self, why: Interrupted) -> None:
        """Raise an interruption in the body; a body that has not ended after the grace is left behind (loop thread)."""
        if not self._ended:
            self._why = type(why)
            self._raise_in_body(why)
            self._set_timer(self.grace_s, self._abandon)

    def take(self) -> Interrupted | None:
        """Return the interruption that waits for the body and forget it."""
        why, self._pending = self._pending, None
        if why is not None and self._task is not None:
            self._task.uncancel()
        return why

    def repeat(self) -> None:
        """Raise a lost interruption again; a soft limit that nobody heeds is left to the hard one."""
        if self._why is not None and self._repeats < _REPEATS:
            self._repeats += 1
            self._raise_in_body(self._why())

    async def _drive(self) -> None:
        self._underway = True
        try:
            if self._pending is not None:
                raise self._pending
            result = await run_body(partial(self.target, *self.args), self)
        except BaseException as exc:  # noqa: BLE001  a SystemExit must end neither the loop nor the account of its slot
            result = _lost(exc, self.task_id)
        self._end(result)

    def _raise_in_body(self, why: Interrupted) -> None:
        self._pending = why
        # A task cancelled before its first step never runs; `_drive` looks for itself.
        if self._underway and self._task is not None:
            self._task.cancel()

    def _on_soft(self) -> None:
        if self.hard_s:
            self._set_timer(max(self.hard_s - (self.soft_s or 0), 0), self._on_hard)
        self.pool.post(self.timeout_callback, True, self.soft_s)  # noqa: FBT003  Celery's signature
        self._raise_in_body(SoftLimit())

    def _on_hard(self) -> None:
        self.overdue = True
        self.interrupt(HardLimit())

    def _abandon(self) -> None:
        log.error("A task body did not end when it was told to", context={"task_id": self.task_id})
        if self._task is not None:
            self._task.cancel()
        self._end(_lost(TimeoutError(), self.task_id))

    def _set_timer(self, delay_s: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, then)

    def _end(self, result: Traced) -> None:
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._task = None
        self.result = result
        self.pool.post(self.pool.finish, self)


def _lost(exc: BaseException, task_id: str) -> Traced:
    """Return the outcome of a body that Celery's tracer does not account for, without the exception's text."""
    if not isinstance(exc, Interrupted):
        log.error("A task body ended outside Celery's account", context={"task_id": task_id}, exc=exc)
    try:
        raise WorkerLostError(f"the task's body ended with {type(exc).__name__}") from None
    except WorkerLostError as lost:
        info = ExceptionInfo()
        info.exception = lost  # as the tracer does: billiard's wrapper has no name to show
        return 1, info, None
