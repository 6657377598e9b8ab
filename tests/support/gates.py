"""Gates for tests: both twins behind one face, with a clock that a test may turn, and short ways to call through them."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio as aioredis

from infrastructure.core.config_core.sections import Breakers
from workers.jobs.gate.costs import costs
from workers.jobs.gate.local_gate import LocalGate
from workers.jobs.gate.models import Admission, Begin, End, Limits, Rates, TargetState, Verdict
from workers.jobs.gate.redis_gate import NAMES, PACKAGE, RedisGate
from workers.jobs.store import lua

PREFIX = "aip"
PROVIDER, MODEL, TENANT = "alpha", "model-1", "red"
_NOW = "local now = instant[1] * 1000 + math.floor(instant[2] / 1000)"
_SHIFTED = f"{_NOW} + (tonumber(redis.call('GET', prefix .. '-shift')) or 0)"
_attempts = itertools.count()


def shifted(gate: RedisGate, redis: aioredis.Redis) -> RedisGate:
    """Give a gate scripts whose clock is Redis's plus what stands under `{prefix}-shift`, in ms."""
    for name in NAMES:
        text = lua.source(name, PACKAGE)
        assert _NOW in text
        gate._scripts[name] = redis.register_script(text.replace(_NOW, _SHIFTED))
    return gate


def redis_gate(
    redis: aioredis.Redis, *, owner: str = "w1", breakers: Callable[[], Breakers] = Breakers, turned: bool = True
) -> RedisGate:
    """Return a gate over Redis, with a clock that `Twin.advance` turns."""
    gate = RedisGate(redis, prefix=PREFIX, owner=owner, breakers=breakers)
    return shifted(gate, redis) if turned else gate


def new_attempt() -> str:
    """Return an id for an attempt that no other one has."""
    return f"attempt-{next(_attempts)}"


@dataclass
class Twin:
    """A gate with a clock to turn and a ledger to read."""

    gate: RedisGate | LocalGate
    advance: Callable[[float], Awaitable[Any]]
    booked: Callable[[], Awaitable[dict[tuple[str, str, str, str], float]]]
    breakers: Breakers = field(default_factory=Breakers)

    async def begin(self, **options: Any) -> Admission:
        """Ask for a call."""
        return await self.gate.begin(a_begin(**options))

    async def call(
        self, verdict: Verdict = Verdict.GOOD, *, within_ms: float = 0, begin: dict[str, Any] | None = None, **how: Any
    ) -> TargetState:
        """Make a whole call, which has to be let through and takes `within_ms`."""
        asked = a_begin(**(begin or {}))
        admission = await self.gate.begin(asked)
        assert admission.admitted, admission
        if within_ms:
            await self.advance(within_ms)
        return await self.end(asked, admission, verdict, **how)

    async def end(self, asked: Begin, admission: Admission, verdict: Verdict = Verdict.GOOD, **how: Any) -> TargetState:
        """End a call."""
        return await self.gate.end(an_end(asked, admission, verdict, **how))

    async def several(self, count: int, verdict: Verdict = Verdict.GOOD, **how: Any) -> TargetState:
        """Make several calls, one after the other."""
        return [await self.call(verdict, **how) for _ in range(count)][-1]

    async def opened(self, **options: Any) -> list[tuple[Begin, Admission]]:
        """Begin one call, and give it back with its admission."""
        asked = a_begin(**options)
        return [(asked, await self.gate.begin(asked))]

    async def state(self, provider: str = PROVIDER, model: str = MODEL) -> TargetState:
        """Return how a target stands."""
        return next(s for s in await self.gate.states() if (s.provider, s.model) == (provider, model))


def a_begin(
    *,
    attempt: str | None = None,
    provider: str = PROVIDER,
    model: str = MODEL,
    tenant: str = TENANT,
    timeout_ms: int = 5_000,
    limits: Limits | None = None,
    **others: Any,
) -> Begin:
    """Return a call about to be made."""
    return Begin(
        attempt=attempt or new_attempt(), provider=provider, model=model, tenant=tenant, timeout_ms=timeout_ms,
        limits=limits or Limits(), **others,
    )  # fmt: skip


def an_end(
    asked: Begin,
    admission: Admission,
    verdict: Verdict = Verdict.GOOD,
    *,
    outcome: str | None = None,
    latency_ms: float = 100,
    cost_usd: float | None = 0.25,
    tokens: tuple[int, int] | None = (3, 4),
    rates: Rates | None = None,
    **others: Any,
) -> End:
    """Return a call's end."""
    good = verdict is Verdict.GOOD
    prompt, completion = tokens if good and tokens else (None, None)
    return End(
        attempt=asked.attempt, provider=asked.provider, model=asked.model, tenant=asked.tenant, verdict=verdict,
        outcome=outcome or ("ok" if good else f"class_{verdict}"), status=200 if good else None, latency_ms=latency_ms,
        epochs=admission.epochs, prompt_tokens=prompt, completion_tokens=completion, cost_usd=cost_usd, rates=rates,
        probe=asked.probe, **others,
    )  # fmt: skip


def local_twin() -> Twin:
    """Return the memory twin, with a ledger as the other's is read."""
    now = [1_000_000_000.0]
    settings = [Breakers()]
    gate = LocalGate(breakers=lambda: settings[0], clock_ms=lambda: now[0])

    async def advance(ms: float) -> None:
        now[0] += ms

    async def booked() -> dict[tuple[str, str, str, str], float]:
        return dict(gate.booked)

    return Twin(gate, advance, booked)


def redis_twin(redis: aioredis.Redis, *, owner: str = "w1") -> Twin:
    """Return the fleet's gate over a real Redis."""

    async def advance(ms: float) -> None:
        await redis.incrby(f"{PREFIX}-shift", round(ms))

    async def booked() -> dict[tuple[str, str, str, str], float]:
        return await ledger(redis)

    return Twin(redis_gate(redis, owner=owner), advance, booked)


async def ledger(redis: aioredis.Redis) -> dict[tuple[str, str, str, str], float]:
    """Return the fleet's ledger of the last days as (tenant, provider, model, what) -> amount, without zeros."""
    names = ("calls", "failed", "lost", "lost_unbounded", "unpriced", "maybe_billed", "maybe_unbounded", "maybe_upper_usd", "prompt_tokens", "completion_tokens", "cost_usd", "lost_upper_usd",
             "saved_usd", "hits", "joined")  # fmt: skip
    rows = await costs(redis, PREFIX, days=3)
    found = ((row, name, getattr(row, name)) for row in rows for name in names)
    return {(row.tenant, row.provider, row.model, name): amount for row, name, amount in found if amount}


def sums(booked: dict[tuple[str, str, str, str], float], *, tenant: str = TENANT) -> dict[str, float]:
    """Return a tenant's amounts over all providers and models."""
    found: dict[str, float] = {}
    for (whose, _, _, what), amount in booked.items():
        if whose == tenant:
            found[what] = found.get(what, 0) + amount
    return found


TWINS: Sequence[str] = ("redis", "local")
