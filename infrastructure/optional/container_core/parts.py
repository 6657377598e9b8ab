"""What the registry knows of a part: how it is made, started, asked for its health, mended and stopped."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Step = Callable[[Any], Awaitable[object] | object]
"""Something done with a part, at once or awaited; it says by an exception that it failed."""
PING_S = 2.0
STEP_S = 30.0


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
            async with asyncio.timeout(deadline_s):
                await _awaited(self.ask())
        except Exception as exc:  # noqa: BLE001  whatever a part raises, it is not well
            error_type = type(exc).__name__
        return Pinged(self.name, error_type is None, error_type, round((time.perf_counter() - started) * 1000, 3))


async def do(step: Step | None, value: Any, *, within_s: float = STEP_S) -> None:
    """Do a step with a part.

    Raises:
        TimeoutError: it did not end within `within_s` seconds.
        Exception: whatever the step raises.
    """
    if step is not None:
        async with asyncio.timeout(within_s):
            await _awaited(step(value))


async def _awaited(result: Awaitable[object] | object) -> None:
    if inspect.isawaitable(result):
        await result
