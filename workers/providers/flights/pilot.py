"""Takes one flight to its end: gets the lock or waits for who has it, has the call made, and lands the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.logger_core import CoreLogger
from workers.providers.flights.flight import Flight, FlightLost, Landed, Waiter, fail
from workers.providers.flights.locks import Locks, Told, Word
from workers.providers.flights.wire import Packed

T = TypeVar("T")

MARGIN_S = 0.02
"""Behind the end of a leader's lease, so that Redis has surely forgotten the lock."""
SHORTEST_KEPT_S = 1.0


class Pilot(Generic[T]):
    """Flies one flight.

    `nonce` names each of its takeovers of the lock; `ending` says that the process ends; `ended` is told the flight's name
    when nobody can board it any more.
    """

    def __init__(
        self,
        flight: Flight[T],
        *,
        locks: Locks | None,
        packed: Packed,
        nonce: Callable[[], str],
        ending: Callable[[], bool],
        ended: Callable[[str], object],
        log: CoreLogger,
    ) -> None:
        self.flight = flight
        self._locks = locks
        self._packed = packed
        self._new_nonce = nonce
        self._ending = ending
        self._ended = ended
        self._log = log
        self._nonce = ""
        self._sure = False
        """The lock was surely ours once; where Redis did not answer it may be."""
        self.leads = False
        """The lock is ours, or may be, and has to be renewed."""
        self.waits = False
        """Another process has it, and we wait for what it tells."""
        self._waited = False
        """We did so once."""

    async def fly(self) -> None:
        """Go on until everyone who waits here has his answer, or has gone."""
        flight = self.flight
        try:
            while not (self._ending() or flight.landed):
                flight.stir.clear()
                if flight.waiters:
                    await self._step()
                elif self.waits:
                    await self._leave()
                else:
                    break  # nothing is awaited from here to the end: who comes now makes a new flight
            if self.waits:
                await self._leave()
        except Exception as exc:  # noqa: BLE001  nobody may be left waiting for a flight that is no more
            self._log.error("Flight broke", exc=exc)
        finally:
            self._ended(flight.name)
            flight.lose("expected the flight to land, it was given up")

    async def _step(self) -> None:
        told = await self._acquire()
        if told.word is Word.LANDED:
            await self._take(told.landed)
        elif told.word is Word.BUSY:
            await self._wait(told.wait_ms / 1_000)
        else:
            await self._lead()

    async def _leave(self) -> None:
        self.waits = False
        if self._locks is not None:
            await self._locks.leave(self.flight.name)

    async def renew(self) -> None:
        """Make the lock's lease begin again; where nobody waits here, see whether others still do."""
        if self.leads and self._locks is not None and not self.flight.landed:
            await self._locks.renew(self.flight.name, self._nonce)
            if not self.flight.waiters:
                self.flight.stir.set()

    async def _acquire(self) -> Told:
        self._nonce = self._new_nonce()
        if self._locks is None:
            return Told(Word.AWAY)
        told = await self._locks.acquire(self.flight.name, self._nonce)
        self.waits = told.word is Word.BUSY
        self._waited = self._waited or self.waits
        self._sure = told.word is Word.LEAD
        return told

    async def _take(self, data: bytes) -> None:
        """Give everyone here what another process landed; where it is none, call without sharing it."""
        landed = self._packed.unpack(self.flight.name, data)
        if landed is None:
            self._log.warning("What another process landed is none")
            await self._lead()
        else:
            refill = next((one.refill for one in self.flight.waiters if one.refill is not None), None)
            self.flight.land(landed, ready=not self._waited)
            if refill is not None and landed.answer is not None and not self._waited:
                await refill(landed.answer)

    async def _wait(self, lease_s: float) -> None:
        """Wait for word of the leader, for the end of his lease, or until nobody waits here."""
        try:
            async with asyncio.timeout(max(lease_s, 0) + MARGIN_S):
                await self.flight.stir.wait()
        except TimeoutError:
            return

    async def _lead(self) -> None:
        """Have the call made by each who waits here in turn, until one brings what all may have."""
        flight = self.flight
        self.leads = True
        try:
            while flight.waiters and not self._ending():
                leader = flight.waiters[0]
                began = time.monotonic()
                call = asyncio.create_task(_awaited(leader, flight), name="flight", context=leader.context)
                call.add_done_callback(lambda _: flight.stir.set())
                if not await self._until_done(call):
                    return
                if await self._land(leader, call, (time.monotonic() - began) * 1_000):
                    return
            await self._abandon()
        finally:
            self.leads = False

    async def _until_done(self, call: asyncio.Task[T]) -> bool:
        """Wait for the call; False when it was stopped, since nobody anywhere waits for it or the process ends."""
        flight = self.flight
        while not call.done():
            flight.stir.clear()
            if self._ending():
                await end_tasks([call])
                await self._abandon()
                return False
            if not flight.waiters and await self._given_up() and not flight.waiters:
                await end_tasks([call])
                return False
            if not call.done():
                await flight.stir.wait()
        return True

    async def _given_up(self) -> bool:
        """Give the lock up; False where another process waits. One who comes here meanwhile has the call, without a lock."""
        if self._locks is None:
            return True
        told = await self._locks.release(self.flight.name, self._nonce)
        return told.word is not Word.HELD

    async def _land(self, leader: Waiter[T], call: asyncio.Task[T], led_ms: float) -> bool:
        """Give everyone what came of the call; False when that is for the leader alone."""
        error = FlightLost("expected the call to end, it was cancelled") if call.cancelled() else call.exception()
        if error is None:
            landed: Landed[T] = Landed(led_ms, answer=call.result())
            self.flight.land_here(landed, None)
            await self._bring(landed, None, leader)
            return True
        if not isinstance(error, Exception):
            raise FlightLost("expected the call to end with an answer or an error") from error
        verdict = self._packed.wire.verdict(error)
        if verdict is None:
            fail(leader, error)
            self.flight.leave(leader)
            return False
        landed = Landed(led_ms, verdict=lambda: self._packed.wire.error(verdict))
        self.flight.land_here(landed, error)
        await self._bring(landed, verdict, leader)
        return True

    async def _bring(self, landed: Landed[T], verdict: tuple[str, str] | None, leader: Waiter[T]) -> None:
        """Bring what landed to other processes, then keep it, unless another process leads by now."""
        taken = None
        if self._locks is not None:
            data = self._packed.pack(self.flight.name, landed, verdict)
            kept_ms = round(1_000 * max(leader.kept_s, SHORTEST_KEPT_S))
            taken = await self._locks.land(self.flight.name, self._nonce, data, kept_ms=kept_ms)
            if taken is None:
                await self._abandon()
        if taken is False and self._sure:
            self._log.warning("Late answer was not shared: another process had taken over")
        elif leader.keep is not None and landed.answer is not None:
            await leader.keep(landed.answer)

    async def _abandon(self) -> None:
        if self._locks is not None:
            await self._locks.abandon(self.flight.name, self._nonce)


async def _awaited(leader: Waiter[T], flight: Flight[T]) -> T:
    return await leader.lead(flight)
