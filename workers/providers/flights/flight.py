"""A flight within one process: who waits for the one call, who leads, and what came of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar, cast

from workers.providers.flights.party import JobRef, Party

T = TypeVar("T")
Lead: TypeAlias = Callable[[Party], Awaitable[T]]
Keep: TypeAlias = Callable[[T], Awaitable[object]]


class FlightLost(Exception):
    """The process gave up a flight without an answer: it is ending, or the call broke in a way that it has no name for."""


@dataclass(frozen=True, slots=True)
class Shared(Generic[T]):
    """An answer. `led_ms` is how long the call took that gave it, wherever it was made.

    `joined`: somebody else called and pays. Of those who waited together exactly one did not join: who called, or where he
    is gone the next in line.
    """

    answer: T
    joined: bool
    led_ms: float
    ready: bool = False
    """The answer was there when he asked: he waited for nobody."""


@dataclass(frozen=True, slots=True)
class Landed(Generic[T]):
    """What came of a call: an answer, or a verdict on the request that holds for everyone (a new error for each)."""

    led_ms: float
    answer: T | None = None
    verdict: Callable[[], Exception] | None = None


@dataclass(eq=False, slots=True)
class Waiter(Generic[T]):
    """One who waits in this process; he would call himself by `lead`, and have the answer kept by `keep`.

    `refill` is for an answer that was there already, and which he would not have asked for had it been kept.
    """

    deadline: float
    job: JobRef | None
    lead: Lead[T]
    keep: Keep[T] | None
    kept_s: float
    outcome: asyncio.Future[Shared[T]]
    refill: Keep[T] | None = None
    context: Context = field(default_factory=copy_context)
    """His log lines are those of his call."""


@dataclass(eq=False, slots=True)
class Flight(Generic[T]):
    """Equal requests of this process, first come first; the party of the call that is made for them."""

    name: str
    waiters: list[Waiter[T]] = field(default_factory=list)
    landed: Landed[T] | None = None
    stir: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where there is something to look at: the call ended, nobody waits here any more, Redis told something."""
    _latest: float = 0.0
    _timeouts: dict[asyncio.Timeout, float] = field(default_factory=dict)

    def board(self, waiter: Waiter[T]) -> None:
        """Let one more wait; what has landed already is his at once."""
        if self.landed is not None:
            _give(waiter, self.landed, ready=True)
            return
        self.waiters.append(waiter)
        if waiter.deadline > self._latest:
            self._latest = waiter.deadline
            for timeout, limit in self._timeouts.items():
                if not timeout.expired():
                    timeout.reschedule(_when(min(limit, self._latest)))

    def leave(self, waiter: Waiter[T]) -> None:
        """Let one go, whether he has his answer or not."""
        if waiter in self.waiters:
            self.waiters.remove(waiter)
            if not self.waiters:
                self.stir.set()

    def land(self, landed: Landed[T], *, ready: bool = False) -> None:
        """Give everyone what came of the call of another process; `ready`: before anyone here asked."""
        self.landed = landed
        for waiter in self.waiters:
            _give(waiter, landed, ready=ready)
        self.waiters.clear()

    def land_here(self, landed: Landed[T], error: Exception | None) -> None:
        """Give everyone what came of our own call: the first in line pays, and gets the very error."""
        if self.waiters:
            payer = self.waiters.pop(0)
            if error is not None:
                fail(payer, error)
            else:
                _give(payer, landed, joined=False)
        self.land(landed)

    def lose(self, why: str) -> None:
        """Tell everyone that there will be no answer."""
        for waiter in self.waiters:
            fail(waiter, FlightLost(why))
        self.waiters.clear()

    def deadline(self) -> float:
        """Return until when the most patient waits, or where nobody is left here, did."""
        return max((waiter.deadline for waiter in self.waiters), default=self._latest)

    def job(self) -> JobRef | None:
        """Return the job of the first who waits."""
        return next((waiter.job for waiter in self.waiters if waiter.job is not None), None)

    @asynccontextmanager
    async def within(self, limit_s: float) -> AsyncIterator[None]:
        """Bound a block by `limit_s` seconds and by the deadline of the most patient, also of one who comes later."""
        limit = time.monotonic() + limit_s
        async with asyncio.timeout_at(_when(min(limit, self.deadline()))) as timeout:
            self._timeouts[timeout] = limit
            try:
                yield
            finally:
                del self._timeouts[timeout]


def _when(moment: float) -> float:
    """Return a monotonic moment on the loop's clock."""
    return asyncio.get_running_loop().time() + moment - time.monotonic()


def fail(waiter: Waiter[T], error: Exception) -> None:
    """Give one an error, unless he has gone."""
    if not waiter.outcome.done():
        waiter.outcome.set_exception(error)


def _give(waiter: Waiter[T], landed: Landed[T], *, joined: bool = True, ready: bool = False) -> None:
    if landed.verdict is not None:
        fail(waiter, landed.verdict())
    elif not waiter.outcome.done():
        answer = cast("T", landed.answer)  # one of the two is there
        waiter.outcome.set_result(Shared(answer, joined, landed.led_ms, ready))
