"""What the composition root hands to the pool and the consumer of a worker process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any


async def _nothing() -> None:
    """Take no notice."""


def _nobody(*, consuming: bool) -> None:
    """Show nobody anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHooks:
    """Given to `TaskPool.prepare` before the worker starts; every hook has a harmless default.

    `lifespan` makes an async context that is entered on the pool's loop before the first task body and left after the
    last; `drain` is awaited there as soon as a shutdown begins. Running bodies get `drain_s` to end, then are
    interrupted; an interrupted body gets `grace_s` to hand its work back. `start_s` bounds the entering, `stop_s` the
    leaving of `lifespan`. `liveness_file` is touched, and `show_life` called, every `liveness_s` by the consumer's hub;
    `show_life` is called too, with `consuming` False, while the process starts, waits for the broker or drains. All in
    seconds.
    """

    lifespan: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext
    drain: Callable[[], Awaitable[None]] = _nothing
    drain_s: float = 30
    grace_s: float = 5
    start_s: float = 120
    stop_s: float = 10
    liveness_file: Path | None = None
    liveness_s: float = 1
    show_life: Callable[..., None] = _nobody


def hooks_of(app: Any) -> WorkerHooks:
    """Return the hooks of a Celery app, the defaults when it has none."""
    found = getattr(app, "worker_hooks", None)
    return found if isinstance(found, WorkerHooks) else WorkerHooks()
