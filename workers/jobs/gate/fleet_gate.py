"""The gate that workers use: the fleet's while Redis answers, this process's own while it does not."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from dataclasses import dataclass

from redis.exceptions import RedisError

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.error_core import StoreError
from infrastructure.core.logger_core import CoreLogger, where
from workers.jobs.gate.debts import Debt, Debts
from workers.jobs.gate.local_gate import LocalGate
from workers.jobs.gate.models import Admission, Begin, End, TargetState
from workers.jobs.gate.redis_gate import PATIENCE_S, RedisGate

RECONCILED_EACH_S, WONDERED_EACH_S = 10.0, 60.0
FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 1.0
MOST_SEEN = 1_000
AWAY = (StoreError, TimeoutError)


@dataclass(frozen=True, slots=True)
class _Call:
    """A call under way. `apart`: let through by the local gate."""

    asked: Begin
    apart: bool
    began_s: float


class FleetGate:
    """Used on one event loop. A caller waits for Redis at most PATIENCE_S, once: then the local gate serves until it is back.

    The local gate goes on from what the fleet's gate said last. What ends meanwhile is owed to Redis, and booked when it is
    back. A call of a process that dies while Redis is away is booked nowhere, unless Redis had let it through.
    """

    def __init__(self, shared: RedisGate, local: LocalGate, *, log: CoreLogger) -> None:
        self._shared = shared
        self._local = local
        self._log = log
        self._calls: dict[str, _Call] = {}
        self._seen: OrderedDict[tuple[str, str], tuple[TargetState, float]] = OrderedDict()
        self._adopted_s = -math.inf
        self._debts = Debts(self._tell)
        self._wondered_s = -math.inf
        self._back: asyncio.Task[None] | None = None
        self._strangers: frozenset[str] = frozenset()
        self.away = False
        """Redis does not answer, and the local gate serves."""

    async def begin(self, asked: Begin) -> Admission:
        """Decide on a call. Never raises."""
        if not self.away:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    admission = await self._shared.begin(asked)
            except AWAY as exc:
                self._trip(exc)
            except RedisError as exc:
                self._wonder(exc)
            else:
                self._see(admission.state)
                return self._noted(asked, admission, apart=False)
        return self._noted(asked, await self._local.begin(asked), apart=True)

    async def end(self, ended: End) -> TargetState:
        """Book a call's end once, and learn from it. Never raises."""
        call = self._calls.pop(ended.attempt, None) if ended.final else self._calls.get(ended.attempt)
        apart = call is not None and call.apart
        told = None
        if self.away:
            self._debts.owe((ended, apart))
        else:
            told = await self._tell((ended, apart))
        if told is not None and not self._local.knows(ended.attempt):
            return told
        if call is not None and not apart:
            self._local.resume(call.asked, began_ms_ago=(time.monotonic() - call.began_s) * 1000)
        own = await self._local.end(ended)  # what it teaches stays here: the fleet's breakers are of other epochs
        return told or own

    async def states(self) -> tuple[TargetState, ...]:
        """Return how the targets stand that were called last: by the fleet's gate, or by the local one while Redis is away.

        Raises:
            StoreError: Redis has just stopped answering; the next call is answered.
        """
        if self.away:
            return await self._local.states()
        try:
            states = await self._shared.states()
        except AWAY as exc:
            self._trip(exc)
            raise
        except RedisError as exc:
            self._wonder(exc)
            return await self._local.states()
        for state in states:
            self._see(state)
        return states

    async def down(self, provider: str, reason: str) -> None:
        """Open the breaker of an account that a check found down; only a good answer closes it. Never raises."""
        if not self.away:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._shared.down(provider, reason)
            except AWAY as exc:
                self._trip(exc)
            except RedisError as exc:
                self._wonder(exc)
            else:
                return
        await self._local.down(provider, reason)

    async def keep(self) -> None:
        """Close what Redis holds open for this process and nobody here knows of, until cancelled.

        Such a call comes of a script that ran after its caller had given it up.
        """
        while True:
            await asyncio.sleep(RECONCILED_EACH_S)
            if not self.away:
                try:
                    await self.reconcile()
                    await self.pay_refused()
                except AWAY as exc:
                    self._trip(exc)
                except RedisError as exc:
                    self._wonder(exc)

    async def reconcile(self) -> None:
        """Look once; what was a stranger at the last look too is booked as lost.

        Raises:
            StoreError: Redis does not answer.
        """
        unknown = await self._shared.open_attempts() - self._calls.keys() - self._debts.attempts()
        if lasting := sorted(unknown & self._strangers):
            lost = await self._shared.lose(lasting)
            self._log.warning("Calls that nobody knows of were booked as lost", context={"lost": lost})
        self._strangers = unknown.difference(lasting)

    async def pay_refused(self) -> None:
        """Try once more to book what Redis would not take, though it was there."""
        await self._debts.pay_refused(going=self._there)

    async def flush(self) -> None:
        """Let what is under way be written, and what is owed where Redis is there."""
        await self._debts.pay(going=self._there)
        await self.pay_refused()
        await self._shared.flush()

    async def close(self) -> None:
        """Let what is under way be written; what is still owed is lost."""
        if self._back is not None:
            await end_tasks([self._back])
        await self._debts.pay(going=self._there)
        await self._shared.close()

    def _noted(self, asked: Begin, admission: Admission, *, apart: bool) -> Admission:
        if admission.admitted:
            self._calls[asked.attempt] = _Call(asked, apart, time.monotonic())
        return admission

    def _see(self, state: TargetState) -> None:
        name = state.provider, state.model
        self._seen[name] = state, time.monotonic()
        self._seen.move_to_end(name)
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)

    def _there(self) -> bool:
        return not self.away

    async def _tell(self, debt: Debt) -> TargetState | None:
        """Tell the fleet's gate of an end; None when Redis does not answer, or will not have it: it is owed then."""
        ended, apart = debt
        try:
            async with asyncio.timeout(PATIENCE_S):
                state = await self._shared.end(ended, apart=apart)
        except AWAY as exc:
            self._trip(exc)
            self._debts.owe(debt)
            return None
        except RedisError as exc:
            self._wonder(exc)
            self._debts.refused(debt)
            return None
        self._see(state)
        return state

    def _adopt(self) -> None:
        """Have the local gate go on from what the fleet's said since the last time."""
        now_s = time.monotonic()
        for state, seen_s in self._seen.values():
            if seen_s > self._adopted_s:
                self._local.adopt(state, age_ms=(now_s - seen_s) * 1000)
        self._adopted_s = now_s

    def _trip(self, exc: BaseException) -> None:
        if self.away:
            return
        self.away = True
        self._adopt()
        self._back = asyncio.create_task(self._until_back(exc), name="gate-probe")

    def _wonder(self, exc: RedisError) -> None:
        """Tell, now and then, that Redis is there and does not do what it is asked: a key of another kind, a right amiss."""
        self._adopt()
        now_s = time.monotonic()
        if now_s - self._wondered_s >= WONDERED_EACH_S:
            self._wondered_s = now_s
            self._log.error("Gate got an answer of Redis that it does not know", exc=exc)

    async def _until_back(self, exc: BaseException) -> None:
        """Wait until Redis answers, then pay what is owed. A caller's wait may only say that this process was busy."""
        pause_s, warned = FIRST_PAUSE_S, False
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._shared.ping()
                break
            except AWAY:
                if not warned:
                    warned = True
                    self._log.warning("Gate goes on without Redis", context=where(exc))
            except RedisError:
                break  # it is there, and answers; whoever calls next sees what it refuses
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)
        self.away = False
        if warned:
            self._log.info("Gate has Redis again", context={"count": len(self._debts)})
        await self._debts.pay(going=self._there)
