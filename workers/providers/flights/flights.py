"""Single-flight: equal requests under way at one time, anywhere in the fleet, share one provider call.

In a process the first of equal requests makes a flight, the others board it. Between processes there is one lock a key in
Redis (see scripts/flights.lua), held under a nonce and renewed; whoever finds it taken is told when the answer has landed.
The call belongs to the flight, not to who began it: he may be cancelled, or expire, and the call goes on while anyone
waits. A leader who dies, or fails in a way that says nothing of the request, has one successor.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from typing import Any, Generic, Protocol, TypeVar

from redis.asyncio import Redis

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.logger_core import CoreLogger, get_logger
from workers.providers.flights.flight import Flight, Keep, Lead, Shared, Waiter
from workers.providers.flights.locks import Locks
from workers.providers.flights.party import JobRef, Solo
from workers.providers.flights.pilot import Pilot
from workers.providers.flights.wire import AnswerWire, Packed, Wire

T = TypeVar("T")

LEASE_S, KEPT_S = 10.0, 30.0
RENEWALS = 4
"""Times that a lease is renewed before it would end."""
LOOK_S = 1.0
"""How often one who waits for another process sees whether Redis is there at all."""
FIRST_WORD_S = 1.0
END_S = 5.0


class Sharing(Protocol[T]):
    """Shares the calls of equal requests."""

    async def share(
        self,
        key: object,
        lead: Lead[T],
        *,
        deadline: float,
        job: JobRef | None = None,
        keep: Keep[T] | None = None,
        kept_s: float | None = None,
        refill: Keep[T] | None = None,
    ) -> Shared[T]:
        """Return the answer of the one call that is made for all equal requests.

        Args:
            key: what they have in common; its text is used.
            lead: makes the call, for a party; of those who come together one is asked, another where that one fails.
            deadline: monotonic seconds until which this one waits.
            job: what he waits for.
            keep: called once with the answer where the call was made, after everyone has it.
            kept_s: seconds for which the answer may be shared after it came, where that is less than usual.
            refill: called with an answer that was there already when this one asked, by one of those who find it together.

        Raises:
            TimeoutError: the deadline passed first; the call goes on while others wait.
            FlightLost: the process ends, or the call ended without an answer or an error.
            Exception: whatever `lead` raised for this one, or a verdict on the request that holds for all.
        """


class NullFlights(Generic[T]):
    """Shares nothing: everyone calls."""

    async def share(
        self,
        key: object,  # noqa: ARG002
        lead: Lead[T],
        *,
        deadline: float,
        job: JobRef | None = None,
        keep: Keep[T] | None = None,
        kept_s: float | None = None,  # noqa: ARG002
        refill: Keep[T] | None = None,  # noqa: ARG002
    ) -> Shared[T]:
        """Return the answer of his own call."""
        began = time.monotonic()
        async with asyncio.timeout(deadline - began):
            answer = await lead(Solo(deadline, job))
        led_ms = (time.monotonic() - began) * 1_000
        if keep is not None:
            await keep(answer)
        return Shared(answer, joined=False, led_ms=led_ms)


class Flights(Generic[T]):
    """All flights of a process. Used on one event loop.

    Args:
        redis: where they are shared with other processes, a client without `decode_responses`; None: within this one only.
        owner: name of this process that no other one has.
        prefix: of every key and channel.
        lease_s: silence after which a leader is held to be dead.
        kept_s: how long an answer is shared after it came.
        wire: how what is shared is written; answers of LiteLLMManager, unless told otherwise.
    """

    def __init__(
        self,
        redis: Redis | None,
        *,
        owner: str,
        prefix: str = "aip",
        lease_s: float = LEASE_S,
        kept_s: float = KEPT_S,
        wire: Wire[Any] | None = None,
        log: CoreLogger | None = None,
    ) -> None:
        self._log = log or get_logger("ai-provider", "flights")
        self._lease_s, self._kept_s = lease_s, kept_s
        self._packed = Packed(wire=wire or AnswerWire())
        self._locks = None if redis is None else Locks(
            redis, prefix=prefix, owner=owner, lease_ms=round(1_000 * lease_s), heard=self._hear, log=self._log
        )  # fmt: skip
        self._pilots: dict[str, Pilot[T]] = {}
        self._flying: set[asyncio.Task[None]] = set()
        self._background: list[asyncio.Task[None]] = []
        self._ending = False
        token, numbers = secrets.token_hex(8), itertools.count(1)
        self._nonce = lambda: f"{token}.{next(numbers)}"

    async def start(self) -> None:
        """Begin to hear other processes, and to renew what this one leads; Redis may come later."""
        if self._locks is None or self._background:
            return
        self._background = [
            asyncio.create_task(self._locks.listen(), name="flights-listener"),
            asyncio.create_task(self._renew(), name="flights-renewal"),
            asyncio.create_task(self._look(self._locks), name="flights-look"),
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_WORD_S):
                await self._locks.listening.wait()

    async def close(self) -> None:
        """Stop all calls that are under way, let others take them over, and end what `start` began."""
        self._ending = True
        self._hear(None)
        if self._flying:
            await asyncio.wait(self._flying, timeout=END_S)
        await end_tasks([*self._flying, *self._background])
        self._background = []
        if self._locks is not None:
            await self._locks.close()

    async def share(
        self,
        key: object,
        lead: Lead[T],
        *,
        deadline: float,
        job: JobRef | None = None,
        keep: Keep[T] | None = None,
        kept_s: float | None = None,
        refill: Keep[T] | None = None,
    ) -> Shared[T]:
        """Return the answer of the one call that is made for all equal requests: see `Sharing`."""
        outcome: asyncio.Future[Shared[T]] = asyncio.get_running_loop().create_future()
        kept_s = self._kept_s if kept_s is None else min(kept_s, self._kept_s)
        waiter = Waiter(deadline=deadline, job=job, lead=lead, keep=keep, kept_s=kept_s, outcome=outcome, refill=refill)
        flight = self._board(str(key), waiter)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await outcome
        finally:
            flight.leave(waiter)
            if outcome.done() and not outcome.cancelled():
                outcome.exception()  # he may have gone as it came: nobody else is to complain of it

    def _board(self, name: str, waiter: Waiter[T]) -> Flight[T]:
        pilot = self._pilots.get(name)
        if pilot is None:
            pilot = self._pilots[name] = Pilot(
                Flight(name), locks=self._locks, packed=self._packed, nonce=self._nonce,
                ending=lambda: self._ending, ended=self._pilots.pop, log=self._log,
            )  # fmt: skip
            task = asyncio.create_task(pilot.fly(), name="flight-pilot")
            self._flying.add(task)
            task.add_done_callback(self._flying.discard)
        pilot.flight.board(waiter)
        return pilot.flight

    def _hear(self, name: str | None) -> None:
        """Let the pilot of a flight look at it again; None: all."""
        for pilot in self._pilots.values() if name is None else filter(None, [self._pilots.get(name)]):
            pilot.flight.stir.set()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / RENEWALS)
            leading = [pilot.renew() for pilot in self._pilots.values() if pilot.leads]
            await asyncio.gather(*leading, return_exceptions=True)

    async def _look(self, locks: Locks) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if any(pilot.waits for pilot in self._pilots.values()):
                await locks.look()
