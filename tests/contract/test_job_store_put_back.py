"""Jobs that are put back until a known moment: out of line till then, no delivery spent, what was tried is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis.asyncio as aioredis

from infrastructure.core.redis_core import connect_sync
from tests.support.jobs import audit, claimed, must_claim, nonce, shared_store, submitted, success
from tests.support.waiting import eventually
from workers.handlers import upkeep
from workers.jobs.models import COMPLETION_CLASSES, Attempt, Status, Waits
from workers.jobs.store.job_store import JobStore
from workers.jobs.store.writing import MOST_ATTEMPTS

pytestmark = pytest.mark.anyio
FAILED = Attempt(provider="p", model="m", outcome="provider_unavailable", status=500, latency_ms=1.5, cost_usd=None)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    async with shared_store(redis_url) as store:
        yield store
    with connect_sync(redis_url) as client:
        assert audit(client) == []


async def test_a_job_put_back_is_claimed_again_when_it_is_due_with_what_was_tried_and_no_delivery_spent(
    store: JobStore,
) -> None:
    first, second = await submitted(store, 2)
    job = await must_claim(store)
    assert await store.put_back(job.fence, delay_ms=150, attempts=(FAILED,))
    assert await store.delayed() == 1
    assert await store.promote() == ()
    assert (await must_claim(store)).id == second
    assert await claimed(store) is None

    promoted: list[str] = []

    async def due() -> bool:
        promoted.extend(await store.promote())
        return bool(promoted)

    await eventually(due, what="the job is due")
    assert promoted == [first]
    again = await must_claim(store)
    assert (again.id, again.deliveries, again.attempts, again.deaths) == (first, 1, (FAILED,), 0)
    assert again.fence.value != job.fence.value
    assert await store.delayed() == 0


async def test_a_job_put_back_is_queued_to_its_owner_and_shows_what_was_tried(store: JobStore) -> None:
    [job_id] = await submitted(store)
    await store.put_back((await must_claim(store)).fence, delay_ms=60_000, attempts=(FAILED,))
    shown = await store.get(job_id, tenant="default")
    assert shown is not None
    assert (shown.status, shown.attempts, shown.started_ms, shown.deliveries) == (Status.QUEUED, (FAILED,), None, 0)
    page = await store.page("default", status=Status.QUEUED, limit=10, after=None)
    assert [one.id for one in page.jobs] == [job_id]
    assert await store.ready_count(COMPLETION_CLASSES) == 0


async def test_a_job_put_back_says_why_and_until_when_it_waits_until_it_is_claimed_again(store: JobStore) -> None:
    [job_id] = await submitted(store)
    assert await store.put_back((await must_claim(store)).fence, delay_ms=0, reason="p/m has 5 calls in flight")
    shown = await store.get(job_id, tenant="default")
    history = await store.history(job_id, tenant="default")
    assert shown is not None
    assert history is not None
    assert shown.waits == Waits(reason="p/m has 5 calls in flight", until_ms=history[1][-1].until_ms or 0)
    assert [one.waits for one in (await store.page("default", status=None, limit=9, after=None)).jobs] == [shown.waits]
    await store.promote()
    again = await must_claim(store)
    running = await store.get(job_id, tenant="default")
    assert running is not None
    assert running.waits is None
    await store.give_back(again.fence)
    returned = await store.get(job_id, tenant="default")
    assert returned is not None
    assert returned.waits is None


async def test_a_job_that_expires_while_it_waits_says_what_it_waited_for(store: JobStore) -> None:
    [job_id] = await submitted(store, deadline_ms=150)
    await store.put_back((await must_claim(store)).fence, delay_ms=60_000, reason="p/m authentication (401)")

    async def expired() -> bool:
        return bool(await store.expire_due())

    await eventually(expired, what="the deadline has passed")
    job = await store.get(job_id, tenant="default")
    assert job is not None
    assert job.error is not None
    assert job.error[1].endswith("it waited for a provider: p/m authentication (401)")
    assert job.waits is None


async def test_the_same_put_back_twice_is_one(store: JobStore) -> None:
    await submitted(store)
    job = await must_claim(store)
    assert await store.put_back(job.fence, delay_ms=0)
    assert await store.put_back(job.fence, delay_ms=0)
    assert len(await store.promote()) == 1
    again = await must_claim(store)
    assert await store.put_back(job.fence, delay_ms=60_000)  # so late that the job runs again
    assert again.deliveries == 1
    assert await store.complete(again.fence, success(), nonce=nonce())


async def test_only_who_has_the_job_puts_it_back(store: JobStore) -> None:
    await submitted(store)
    job = await must_claim(store)
    await store.give_back(job.fence)
    again = await must_claim(store, "w2")
    assert not await store.put_back(job.fence, delay_ms=0)
    assert await store.complete(again.fence, success(), nonce=nonce())
    assert not await store.put_back(again.fence, delay_ms=0)
    assert await store.delayed() == 0


async def test_a_job_that_was_put_back_can_be_cancelled_and_expires_at_its_deadline(store: JobStore) -> None:
    [job_id] = await submitted(store)
    await store.put_back((await must_claim(store)).fence, delay_ms=60_000)
    ended = await store.cancel(job_id, tenant="default")
    assert ended is not None
    assert ended.status is Status.CANCELLED
    assert await store.delayed() == 0

    [late] = await submitted(store, deadline_ms=50)
    await store.put_back((await must_claim(store)).fence, delay_ms=60_000)
    expired: list[str] = []

    async def looked() -> bool:
        expired.extend(await store.expire_due())
        return bool(expired)

    await eventually(looked, what="the deadline passed")
    assert expired == [late]
    assert await store.delayed() == 0


async def test_promotion_goes_in_bounded_steps_in_order_of_when_they_are_due(store: JobStore) -> None:
    ids = await submitted(store, 5)
    for _ in ids:
        await store.put_back((await must_claim(store)).fence, delay_ms=0)
    assert [len(await store.promote(limit=2)) for _ in range(4)] == [2, 2, 1, 0]
    assert [(await must_claim(store)).id for _ in ids] == ids


async def test_upkeep_promotes_many_in_small_steps_and_rings_for_each(store: JobStore) -> None:
    ids = await submitted(store, 2 * upkeep.PROMOTED_IN_ONE_GO + 1)
    for _ in ids:
        await store.put_back((await must_claim(store)).fence, delay_ms=0)
    rung: list[str | None] = []
    assert await upkeep.promote(store, ring=rung.append) == {"promoted": len(ids)}
    assert sorted(rung, key=str) == sorted(ids)
    assert await store.delayed() == 0


async def test_of_very_many_attempts_the_latest_and_those_that_cost_something_are_kept(
    store: JobStore, redis: aioredis.Redis
) -> None:
    await submitted(store)
    paid = Attempt(provider="p", model="m", outcome="bad_answer", status=200, latency_ms=1, cost_usd=0.5)
    await store.put_back((await must_claim(store)).fence, delay_ms=0, attempts=(paid, *[FAILED] * 500))
    await store.promote()
    assert (await must_claim(store)).attempts == (paid, *[FAILED] * MOST_ATTEMPTS)
