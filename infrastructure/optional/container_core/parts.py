"""What the registry knows of a part: how it is made, started, asked for its health, mended and stopped."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from infrastructure.core.asyncio_core import end_tasks

T = TypeVar("T")
Step = Callable[[Any], Awaitable[object] | object]
"""Something done with a part, at once or awaited; it says by an exception that it failed."""
PING_S = 2.0
STEP_S = 30.0
LEFT_S = 0.5


class StepCancelled(Exception):
    """A step waited for something that was cancelled; nobody cancelled whoever does the steps."""


class Lifetime(StrEnum):
    """How long a part lives."""

    PROCESS = "process"
    SCOPE = "scope"
    """As long as one container: a request, a job."""


class Resolver(Protocol):
    """Whatever gives parts to a factory: the registry, or a container."""

    def get(self, kind: type[T], name: str = "") -> T:
        """Return the part of this type and name, made when it is asked for first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """When and how a failed part is stopped and started again.

    It has failed when `failures` looks in a row, `look_every_s` apart, say so. Before each restart but the first there is
    a pause that doubles from `pause_s` to `longest_s`; after `attempts` restarts without a good look in between it is
    given up, until a look is good all the same.
    """

    look_every_s: float = 2.0
    failures: int = 2
    pause_s: float = 0.5
    longest_s: float = 10.0
    attempts: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The registration of one part."""

    kind: type[Any]
    name: str
    factory: Callable[[Resolver], Any]
    lifetime: Lifetime
    start: Step | None
    stop: Step | None
    ping: Step | None
    lives: Step | None
    recovery: Recovery | None

    @property
    def title(self) -> str:
        """Return what the part is called in logs and health answers."""
        return self.name or self.kind.__name__


@dataclass(frozen=True, slots=True)
class Pinged:
    """What became of a ping: whether the part is well, the type of its error otherwise, and the time it took."""

    name: str
    ok: bool
    error_type: str | None
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Ping:
    """A question for one part's health that is yet to be asked."""

    name: str
    ask: Callable[[], Awaitable[object] | object]

    async def ping(self, *, deadline_s: float = PING_S) -> Pinged:
        """Ask; silence for `deadline_s` seconds counts as failure. Raises nothing."""
        started, error_type = time.perf_counter(), None
        try:
            await _ended(self.ask(), within_s=deadline_s)
        except Exception as exc:  # noqa: BLE001  whatever a part raises, it is not well
            error_type = type(exc).__name__
        return Pinged(self.name, error_type is None, error_type, round((time.perf_counter() - started) * 1000, 3))


async def do(step: Step | None, value: Any, *, within_s: float = STEP_S) -> None:
    """Do a step with a part.

    Raises:
        TimeoutError: it did not end within `within_s` seconds.
        Exception: whatever the step raises; StepCancelled where it was cancelled, and not the caller.
    """
    if step is not None:
        await _ended(step(value), within_s=within_s)


async def do_all(steps: Sequence[tuple[str, Step | None, Any]], *, failed: Callable[[str, Exception], object]) -> None:
    """Do steps one after the other: title, step, value. `failed` is told of each that fails.

    Raises:
        asyncio.CancelledError: the caller was cancelled meanwhile; all steps were done, or at least asked for, all the same.
    """
    cancelled: asyncio.CancelledError | None = None
    for title, step, value in steps:
        try:
            await do(step, value)
        except asyncio.CancelledError as exc:
            cancelled = exc
        except Exception as exc:  # noqa: BLE001  the others are to be done, whatever this one says
            failed(title, exc)
    if cancelled is not None:
        raise cancelled


async def _ended(result: Awaitable[object] | object, *, within_s: float) -> None:
    """Wait for the end of something in a task of its own: one that does not listen to a cancellation is left behind."""
    if not inspect.isawaitable(result):
        return
    task = asyncio.ensure_future(result)
    late = True
    try:
        late = not (await asyncio.wait({task}, timeout=within_s))[0]
    finally:
        if late:
            await end_tasks([task], within_s=LEFT_S)
    if late:
        raise TimeoutError(f"expected a step to end within {within_s:g} s")
    if task.cancelled():
        raise StepCancelled
    task.result()
