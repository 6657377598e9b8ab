"""The two gates beside each other, by one clock: whatever happens, they decide and learn alike."""

from __future__ import annotations

import random
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
import redis.asyncio as aioredis

from infrastructure.core.config_core.sections import Breakers
from tests.support.gates import PREFIX, a_begin, an_end, ledger
from workers.jobs.gate.local_gate import LocalGate
from workers.jobs.gate.models import Admission, Begin, Limits, Rates, TargetState, Verdict
from workers.jobs.gate.redis_gate import NAMES, PACKAGE, RedisGate
from workers.jobs.store import lua

pytestmark = pytest.mark.anyio

NOW = "local now = instant[1] * 1000 + math.floor(instant[2] / 1000)"
WALKS, STEPS = 4, 400
LIMITS = (Limits(), Limits(requests_per_minute=120, tokens_per_minute=40_000), Limits(concurrency=6))
VERDICTS = [*Verdict, *[Verdict.GOOD] * 8, *[Verdict.FAILED] * 3]
OUTCOMES = {Verdict.FAILED: ("provider_unavailable", "provider_timeout"), Verdict.STOPPED: ("cancelled", "not_called")}
TOLERANCE = 1e-6


@pytest.fixture
def without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("rules", "local_gate", "local.account", "local.target"):
        monkeypatch.setattr(f"workers.jobs.gate.{module}.jitter", lambda: 1.0)


class Pair:
    """Both gates, their common clock, and what is under way in both."""

    def __init__(self, redis: aioredis.Redis, dice: random.Random) -> None:
        self.redis = redis
        self.dice = dice
        self.now = 1_700_000_000_000
        breakers = Breakers(window_s=10, probe_s=3, max_pause_s=20)
        self.fleets = RedisGate(redis, prefix=PREFIX, owner="w1", breakers=lambda: breakers)
        for name in NAMES:
            text = lua.source(name, PACKAGE)
            assert NOW in text
            by_test = text.replace(NOW, f"local now = tonumber(redis.call('GET', '{PREFIX}-clock'))")
            self.fleets._scripts[name] = redis.register_script(by_test)
        self.local = LocalGate(breakers=lambda: breakers, clock_ms=lambda: float(self.now))
        self.open: list[tuple[Begin, Admission, Admission]] = []
        self.seen: set[str] = set()

    async def step(self) -> None:
        dice = self.dice.random()
        if dice < 0.5:
            await self.begin()
        elif self.open and dice < 0.97:
            await self.end()
        elif dice > 0.995:
            await self.fleets.down("alpha", "checked")
            await self.local.down("alpha", "checked")
        self.now += self.dice.choice([0, 0, 5, 40, 300, 300, 1_500])
        await self.redis.set(f"{PREFIX}-clock", self.now)

    async def begin(self) -> None:
        asked = a_begin(
            provider=self.dice.choice(["alpha", "beta"]), model=self.dice.choice(["m1", "m2"]), timeout_ms=4_000,
            limits=self.dice.choice(LIMITS), tokens=self.dice.choice([0, 100, 3_000]),
        )  # fmt: skip
        one, other = await self.fleets.begin(asked), await self.local.begin(asked)
        same(one, other)
        self.seen.add(str(one.refusal or ("probing" if one.probing else "admitted")))
        if one.admitted:
            self.open.append((asked, one, other))

    async def end(self) -> None:
        asked, one, other = self.open[self.dice.randrange(len(self.open))]
        verdict = self.dice.choice(VERDICTS)
        how: dict[str, Any] = {
            "latency_ms": self.dice.choice([50, 400, 2_000]),
            "outcome": self.dice.choice(OUTCOMES.get(verdict, (None,))),
            "retry_after_ms": self.dice.choice([None, 0, 800, 10**12]),
            "cost_usd": self.dice.choice([None, 0, 0.25]),
        }
        if self.dice.random() < 0.1:
            how["rates"] = Rates(requests_limit=60, requests_left=self.dice.choice([0, 1, 30, 60]),
                                 requests_reset_ms=self.dice.choice([None, 2_000, 30_000]), tokens_limit=10_000,
                                 tokens_left=self.dice.choice([0, 5_000]), tokens_reset_ms=4_000)  # fmt: skip
        how["final"] = verdict is not Verdict.FAILED or self.dice.random() < 0.7
        if how["final"]:
            self.open.remove((asked, one, other))
        same(
            await self.fleets.end(an_end(asked, one, verdict, **how)),
            await self.local.end(an_end(asked, other, verdict, **how)),
        )


def same(one: Admission | TargetState, other: Admission | TargetState) -> None:
    """Compare but for the rounding of JSON."""
    left, right = asdict(one), asdict(other)
    if isinstance(one, Admission):
        same_values(left.pop("state"), right.pop("state"))
    same_values(left, right)


def same_values(left: dict[str, Any], right: dict[str, Any]) -> None:
    for name, value in left.items():
        if isinstance(value, float):
            assert right[name] == pytest.approx(value, rel=TOLERANCE, abs=TOLERANCE), name
        elif name.endswith("_ms") and value is not None:
            assert abs(right[name] - value) <= 1, name  # a fraction of a millisecond, rounded
        else:
            assert right[name] == value, name


@pytest.mark.usefixtures("without_chance")
async def test_a_random_walk_leads_both_to_the_same_place(redis: aioredis.Redis) -> None:
    seen: set[str] = set()
    for seed in range(WALKS):
        await redis.flushall()
        pair = Pair(redis, random.Random(seed))
        await redis.set(f"{PREFIX}-clock", pair.now)
        for _ in range(STEPS):
            await pair.step()
        await ended_alike(pair)
        seen |= pair.seen
    assert seen >= {"admitted", "probing", "breaker_open", "throttled", "rate_limit", "concurrency"}


async def ended_alike(pair: Pair) -> None:
    """End what is under way, and compare all that is left."""
    for asked, one, other in pair.open:
        same(await pair.fleets.end(an_end(asked, one)), await pair.local.end(an_end(asked, other)))
    states = {(state.provider, state.model): state for state in await pair.local.states()}
    for state in await pair.fleets.states():
        same(state, states[state.provider, state.model])
        assert state.in_flight == 0
    for pattern in ("inflight", "attempts"):
        assert await pair.redis.keys(f"{PREFIX}:{pattern}:*") == []
    day = datetime.fromtimestamp(pair.now / 1000, UTC).date().isoformat()
    seconds, _ = await pair.redis.time()
    today = datetime.fromtimestamp(seconds, UTC).date().isoformat()
    await pair.redis.rename(f"{PREFIX}:cost:{day}", f"{PREFIX}:cost:{today}")
    booked = {name: amount for name, amount in pair.local.booked.items() if amount}
    assert await ledger(pair.redis) == pytest.approx(booked)
