"""Jobs that wait for a slot at a provider: whoever ends a call lets in the one whose turn it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio as aioredis

from infrastructure.core.config_core.sections import Breakers
from tests.support.gates import MODEL, PREFIX, PROVIDER, a_begin, an_end
from tests.support.jobs import must_claim, submitted
from workers.jobs.gate.models import Admission, Begin, Limits, Refusal
from workers.jobs.gate.redis_gate import RedisGate
from workers.jobs.models import Claimed, Priority, Put, Slot, Status
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio
TWO = Limits(concurrency=2)
SLOT = Slot(provider=PROVIDER, model=None, most=2)
LONG_MS = 60_000


class Place:
    """An account with two slots, both taken."""

    def __init__(self, redis: aioredis.Redis) -> None:
        self.redis = redis
        self.store = JobStore(redis, prefix=PREFIX)
        self.let_in: list[str] = []
        self.gate = RedisGate(redis, prefix=PREFIX, owner="w1", breakers=Breakers, freed=self.let_in.append)
        self.calls: list[tuple[Begin, Admission]] = []

    async def fill(self) -> None:
        """Take the slots."""
        while len(self.calls) < 2:
            asked = a_begin(limits=TWO)
            self.calls.append((asked, await self.gate.begin(asked)))
        assert (await self.gate.begin(a_begin(limits=TWO))).refusal is Refusal.FULL

    async def end_one(self) -> str | None:
        """End a call; return who was let in."""
        before = len(self.let_in)
        await self.gate.end(an_end(*self.calls.pop()))
        assert len(self.let_in) - before <= 1
        return self.let_in[-1] if len(self.let_in) > before else None

    async def waiting(self, **options: Any) -> str:
        """Submit a job, claim it, and put it aside until there is a slot."""
        [job_id] = await submitted(self.store, **options)
        job = await must_claim(self.store, "w1")
        assert job.id == job_id
        assert await self.put(job) is Put.ASIDE
        return job_id

    async def put(self, job: Claimed, slot: Slot = SLOT) -> Put:
        """Put a job aside until there is a slot."""
        return await self.store.put_back(job.fence, delay_ms=LONG_MS, slots=(slot,))


async def test_the_highest_class_is_let_in_first_then_the_oldest(redis: aioredis.Redis) -> None:
    place = Place(redis)
    await place.fill()
    lows = [await place.waiting(priority=Priority.LOW) for _ in range(3)]
    high = await place.waiting(priority=Priority.HIGH)
    normal = await place.waiting()
    order = []
    for _ in range(5):
        order.append(await place.end_one())
        await place.fill()
    assert order == [high, normal, *lows]
    assert await place.end_one() is None
    assert await place.store.delayed() == 0
    claimed = [(await must_claim(place.store)).id for _ in range(5)]
    assert set(claimed) == {high, normal, *lows}
    assert claimed[0] == high


async def test_every_tenth_slot_goes_to_the_lowest_class(redis: aioredis.Redis) -> None:
    place = Place(redis)
    await place.fill()
    low = await place.waiting(priority=Priority.LOW)
    for _ in range(12):
        await place.waiting(priority=Priority.HIGH)
    order = []
    for _ in range(11):
        order.append(await place.end_one())
        await place.fill()
    assert order.index(low) == 9


async def test_tenants_of_one_class_take_turns(redis: aioredis.Redis) -> None:
    place = Place(redis)
    await place.fill()
    for _ in range(4):
        await place.waiting(tenant="many")
    [few] = [await place.waiting(tenant="few")]
    order = []
    for _ in range(2):
        order.append(await place.end_one())
        await place.fill()
    assert few in order


async def test_who_finds_a_slot_free_when_he_is_put_aside_is_in_line_at_once(redis: aioredis.Redis) -> None:
    place = Place(redis)
    await place.fill()
    await submitted(place.store)
    job = await must_claim(place.store, "w1")
    assert await place.end_one() is None
    assert await place.put(job) is Put.IN_LINE
    assert await place.put(job) is Put.IN_LINE
    assert (await must_claim(place.store, "w2")).id == job.id
    assert await place.put(job) in {Put.IN_LINE, Put.STALE}


async def test_who_has_left_meanwhile_takes_no_slot(redis: aioredis.Redis) -> None:
    place = Place(redis)
    await place.fill()
    gone = await place.waiting(priority=Priority.HIGH)
    stays = await place.waiting()
    assert (await place.store.cancel(gone, tenant=None)).status is Status.CANCELLED  # type: ignore[union-attr]
    assert await place.end_one() == stays


async def test_a_slot_of_a_model_is_another_one_than_the_account_s(redis: aioredis.Redis) -> None:
    place = Place(redis)
    await place.fill()
    await submitted(place.store)
    job = await must_claim(place.store, "w1")
    assert await place.put(job, Slot(provider=PROVIDER, model=MODEL, most=2)) is Put.ASIDE
    assert await place.end_one() == job.id


async def test_ends_at_once_let_in_one_each_and_nothing_stays_behind(redis: aioredis.Redis) -> None:
    place = Place(redis)
    await place.fill()
    ids = {await place.waiting() for _ in range(3)}
    await asyncio.gather(*(place.gate.end(an_end(*call)) for call in place.calls))
    assert len(place.let_in) == 2
    assert set(place.let_in) < ids
    for name in await redis.keys(f"{PREFIX}:waiting:*"):
        assert await redis.pttl(name) > 0
