"""The gate that the fleet shares: every decision is one script in Redis, and many of them go in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from infrastructure.core.config_core.sections import Breakers
from infrastructure.core.redis_core import store_errors
from workers.jobs import keys
from workers.jobs.gate import wire
from workers.jobs.gate.grouped import Grouped
from workers.jobs.gate.models import (
    NOT_CALLED,
    Admission,
    Begin,
    Breaker,
    BreakerChange,
    Changed,
    End,
    TargetState,
    Verdict,
    unheard,
)
from workers.jobs.gate.rules import encoded, rules_of
from workers.jobs.store import lua

PACKAGE = "workers.jobs.gate"
NAMES = ("begin", "end", "states", "down", "lose")
MOST_STATES = 300
PATIENCE_S = 1.0


class RedisGate:
    """Used on one event loop. Its methods raise StoreError when Redis does not answer; `FleetGate` then does without.

    Args:
        redis: client without `decode_responses`.
        prefix: of every key.
        owner: this process, as in `workers`: what it leaves open is booked as lost when it is dead.
        breakers: asked at each call, so that a reload takes effect with the next.
        freed: hears of each job that waited for a slot and is in line again, since a call of this process has ended.
        changed: hears of the breakers that this process's calls and checks change; not of one whose answer came too late.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        prefix: str,
        owner: str,
        breakers: Callable[[], Breakers],
        changed: Changed = unheard,
        freed: Callable[[str], object] = str,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._owner = owner
        self._breakers = breakers
        self._changed = changed
        self._freed = freed
        self._scripts = {name: redis.register_script(lua.source(name, PACKAGE)) for name in NAMES}
        self._begins: Grouped[Begin, Admission] = Grouped(self._begin, patience_s=PATIENCE_S)
        self._ends: Grouped[tuple[End, bool], TargetState] = Grouped(self._end, patience_s=PATIENCE_S)

    async def begin(self, asked: Begin) -> Admission:
        """Decide on a call. One whose caller is gone before the answer comes is closed again, as not called."""
        answer = self._begins.add(asked)
        try:
            return await asyncio.shield(answer)
        except ResponseError:  # it may be another one of its group that Redis cannot work on
            return (await self._begin([asked]))[0]
        except asyncio.CancelledError:
            answer.add_done_callback(lambda done: self._abandon(asked, done))
            raise

    async def end(self, ended: End, *, apart: bool = False) -> TargetState:
        """Book a call's end once; a caller's cancel does not take it back.

        `apart`: it began while Redis was away, and Redis does not know of it.
        """
        try:
            return await asyncio.shield(self._ends.add((ended, apart)))
        except ResponseError:
            return (await self._end([(ended, apart)]))[0]

    async def states(self) -> tuple[TargetState, ...]:
        """Return how the targets stand that were called last, at most MOST_STATES.

        Raises:
            StoreError: Redis does not answer.
        """
        rows = await self._run("states", self._rules(), MOST_STATES)
        return tuple(wire.state(row) for row in rows)

    async def down(self, provider: str, reason: str) -> None:
        """Open the breaker of an account that a check found down; only a good answer closes it.

        Raises:
            StoreError: Redis does not answer.
        """
        if await self._run("down", self._rules(), keys.part(provider), reason):
            opened = BreakerChange(
                provider=provider, model=None, before=Breaker.CLOSED, state=Breaker.OPEN, reason=reason
            )
            self._changed(opened)

    async def open_attempts(self) -> frozenset[str]:
        """Return the attempts that Redis holds open for this process.

        Raises:
            StoreError: Redis does not answer.
        """
        with store_errors():
            names: list[Any] = await self._redis.hkeys(keys.attempts(self._prefix, self._owner))
        return frozenset(name.decode() for name in names)

    async def lose(self, attempts: Sequence[str]) -> int:
        """Book open attempts of this process as lost: calls that nobody here knows of. Return how many were open.

        Raises:
            StoreError: Redis does not answer.
        """
        lost: int = await self._run("lose", self._owner, *attempts)
        return lost

    async def ping(self) -> None:
        """See that Redis answers.

        Raises:
            StoreError: it does not.
        """
        with store_errors():
            await self._redis.ping()

    async def flush(self) -> None:
        """Let what is under way be written, within PATIENCE_S each."""
        await self._begins.flush()
        await asyncio.sleep(0)  # what was abandoned adds its end
        await self._ends.flush()

    async def close(self) -> None:
        """Let what is under way be written, then take nothing more."""
        await self.flush()
        await self._begins.close()
        await self._ends.close()

    def _abandon(self, asked: Begin, answer: asyncio.Future[Admission]) -> None:
        if answer.cancelled() or answer.exception() is not None or not answer.result().admitted:
            return
        self._ends.add((not_called(asked, answer.result()), False))

    async def _begin(self, asked: Sequence[Begin]) -> Sequence[Admission]:
        states, rows = await self._decide("begin", [wire.begin_item(each) for each in asked])
        return [wire.admission(row, states) for row in rows]

    async def _end(self, ended: Sequence[tuple[End, bool]]) -> Sequence[TargetState]:
        states, places = await self._decide("end", [wire.end_item(each, apart=apart) for each, apart in ended])
        return [states[int(place)] for place in places]

    async def _decide(self, name: str, items: list[dict[str, Any]]) -> tuple[list[TargetState], Sequence[Any]]:
        states, answers, *told = await self._run(name, self._owner, self._rules(), orjson.dumps(items))
        moves, let_in = (*told, None, None)[:2]  # Lua leaves out what it has nothing of
        for row in moves or ():
            self._changed(wire.change(row))
        for job_id in let_in or ():
            self._freed(job_id)
        return [wire.state(row) for row in states], answers

    def _rules(self) -> bytes:
        return encoded(rules_of(self._breakers()))

    async def _run(self, name: str, *args: str | bytes | float) -> Any:
        with store_errors():
            answer = await self._scripts[name](args=(self._prefix, 0, *args))
        return orjson.loads(answer) if isinstance(answer, bytes) else answer


def not_called(asked: Begin, admission: Admission) -> End:
    """Return the end of a call that was let through and never made."""
    return End(
        attempt=asked.attempt,
        provider=asked.provider,
        model=asked.model,
        tenant=asked.tenant,
        verdict=Verdict.STOPPED,
        outcome=NOT_CALLED,
        status=None,
        latency_ms=0,
        epochs=admission.epochs,
        cost_usd=0,
        probe=asked.probe,
    )
