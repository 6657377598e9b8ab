"""Priorities without starvation, and turns between tenants, whatever the mixture and whatever became of jobs before."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.support.jobs import must_claim, shared_store, submitted
from workers.jobs.models import COMPLETION_CLASSES, Priority, ReadyClass
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio
CLAIMS = 200


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    async with shared_store(redis_url) as store:
        yield store


@pytest.mark.parametrize("seed", range(3))
async def test_every_class_that_waits_gets_its_tenth_whatever_goes_on_above_it(store: JobStore, seed: int) -> None:
    """The lower classes share every tenth claim; at every moment each of those that wait has had its part of them."""
    drawn = random.Random(seed)
    for priority in Priority:
        await submitted(store, 30, priority=priority, tenant=drawn.choice("ab"))
    given: Counter[ReadyClass] = Counter()
    for number in range(1, CLAIMS + 1):
        job = await must_claim(store)
        given[job.ready_class] += 1
        # The high class never runs out, the others are filled up after them: no class is ever empty.
        await submitted(store, priority=Priority(job.ready_class.value), tenant=drawn.choice("abc"))
        for lower in (ReadyClass.NORMAL, ReadyClass.LOW):
            assert given[lower] >= number // 20
        assert given[ReadyClass.HIGH] >= 0.9 * number - 1
    assert given.total() == CLAIMS


async def test_the_lowest_class_gets_every_tenth_claim_where_it_is_the_only_lower_one(store: JobStore) -> None:
    await submitted(store, 5, priority=Priority.LOW)
    await submitted(store, 45, priority=Priority.HIGH)
    classes = [(await must_claim(store)).ready_class for _ in range(50)]
    assert [number for number, each in enumerate(classes, 1) if each is ReadyClass.LOW] == [10, 20, 30, 40, 50]


async def test_a_tenant_with_a_long_line_keeps_another_one_waiting_for_one_claim_at_most(store: JobStore) -> None:
    await submitted(store, 1_500, tenant="noisy")
    for _ in range(100):
        [job_id] = await submitted(store, tenant="quiet")
        assert job_id in {(await must_claim(store)).id for _ in range(2)}


async def test_twenty_tenants_get_the_same_however_unequal_their_lines(store: JobStore) -> None:
    for number in range(20):
        await submitted(store, 10 + 10 * number, tenant=f"t{number:02d}")
    turns = Counter([(await must_claim(store)).tenant for _ in range(200)])
    assert set(turns.values()) == {10}


async def test_jobs_put_back_have_their_old_places_among_their_own(store: JobStore) -> None:
    ids = await submitted(store, 12)
    held = [await must_claim(store) for _ in range(6)]
    later = await submitted(store, 3)
    for job in reversed(held):
        assert await store.put_back(job.fence, delay_ms=0)
    assert set(await store.promote()) == set(ids[:6])
    assert [(await must_claim(store)).id for _ in range(15)] == [*ids, *later]


async def test_a_tenant_whose_jobs_were_all_put_aside_comes_back_level(store: JobStore) -> None:
    await submitted(store, 60, tenant="busy")
    away = await submitted(store, 10, tenant="away")
    held = [await must_claim(store) for _ in range(20)]
    for job in held:
        if job.tenant == "away":
            assert await store.put_back(job.fence, delay_ms=0)
    assert Counter([(await must_claim(store)).tenant for _ in range(20)]) == {"busy": 20}
    assert len(await store.promote()) == len(away)
    turns = [(await must_claim(store)).tenant for _ in range(10)]
    assert Counter(turns) == {"busy": 5, "away": 5}
    assert await store.ready_count(COMPLETION_CLASSES) == 60 - 10 - 20 - 5 + 10 - 5
