"""Ends of jobs: exactly one is written, whoever comes second is told, and those who wait hear of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import redis.asyncio as aioredis

from tests.support.jobs import ANSWER, must_claim, nonce, overheard, shared_store, submitted, success
from tests.support.waiting import eventually
from workers.jobs import codec
from workers.jobs.models import COMPLETION_CLASSES, Attempt, Job, Outcome, Status
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio

ATTEMPT = Attempt(provider="p", model="m", outcome="ok", status=200, latency_ms=1.5, cost_usd=0.25)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    async with shared_store(redis_url) as store:
        yield store


async def read(store: JobStore, job_id: str) -> Job:
    job = await store.get(job_id, tenant="default")
    assert job is not None
    return job


async def test_a_completion_is_written_once_and_its_repeat_is_as_good(store: JobStore) -> None:
    [job_id] = await submitted(store)
    job = await must_claim(store)
    assert await store.complete(job.fence, success(), nonce="c1")
    other = Outcome(status=Status.FAILED, error=("bad_answer", "no"))
    assert await store.complete(job.fence, other, nonce="c1")
    assert not await store.complete(job.fence, other, nonce="c2")
    after = await read(store, job_id)
    assert (after.status, after.result, after.error) == (Status.COMPLETED, ANSWER, None)


async def test_a_failure_keeps_its_error_attempts_and_cost(store: JobStore) -> None:
    [job_id] = await submitted(store)
    how = Outcome(status=Status.FAILED, error=("bad_answer", "nothing in it"), attempts=(ATTEMPT,), cost_usd=0.25)
    await store.complete((await must_claim(store)).fence, how, nonce=nonce())
    after = await read(store, job_id)
    assert (after.status, after.error, after.result) == (Status.FAILED, ("bad_answer", "nothing in it"), None)
    assert (after.attempts, after.cost_usd) == ((ATTEMPT,), 0.25)


async def test_the_version_that_a_job_ran_under_takes_the_place_of_the_one_it_came_under(
    store: JobStore, redis: aioredis.Redis
) -> None:
    ran, [never_ran] = await submitted(store), await submitted(store)
    job = await must_claim(store)
    assert await store.complete(job.fence, replace(success(), config_version="v2"), nonce=nonce())
    await store.cancel(never_ran, tenant="default")
    assert await redis.hget(f"aip:job:{ran[0]}", "cfg") == b"v2"
    assert await redis.hget(f"aip:job:{never_ran}", "cfg") == b"v1"


async def test_an_outcome_that_is_no_end_is_refused(store: JobStore) -> None:
    await submitted(store)
    job = await must_claim(store)
    with pytest.raises(ValueError, match="expected the outcome to be final"):
        await store.complete(job.fence, Outcome(status=Status.QUEUED), nonce=nonce())


async def test_a_stale_completion_is_counted_once_a_nonce_and_its_cost_is_booked(
    store: JobStore, redis: aioredis.Redis
) -> None:
    [job_id] = await submitted(store)
    job = await must_claim(store)
    await store.cancel(job_id, tenant="default")
    for claim in ("c1", "c1", "c2"):
        assert not await store.complete(job.fence, success(cost_usd=0.5), nonce=claim)
    assert await store.counters() == {"stale_writes": 2, "late_cost_usd": 1.0}
    assert await redis.hget(f"aip:job:{job_id}", "late:c1") == b"0.5"
    assert (await read(store, job_id)).status is Status.CANCELLED


async def test_a_completion_of_a_job_that_is_gone_is_stale_and_brings_nothing_back(
    store: JobStore, redis: aioredis.Redis
) -> None:
    [job_id] = await submitted(store)
    job = await must_claim(store)
    await redis.delete(f"aip:job:{job_id}")
    for _ in range(2):
        assert not await store.complete(job.fence, success(cost_usd=None), nonce="c1")
    assert await store.counters() == {"stale_writes": 1}
    assert not await redis.exists(f"aip:job:{job_id}")
    assert await redis.ttl("aip:late:c1") > 0


async def test_a_finished_job_goes_after_the_time_to_live_and_its_claim_a_day_from_its_submit(
    redis: aioredis.Redis,
) -> None:
    store = JobStore(redis, result_ttl_s=100)
    [job_id] = await submitted(store, idempotency=("key", "body"))
    [claim] = await redis.keys("aip:idem:*")
    assert await redis.ttl(f"aip:job:{job_id}") == await redis.ttl(claim) == -1
    await store.complete((await must_claim(store)).fence, success(), nonce=nonce())
    assert 95 <= await redis.ttl(f"aip:job:{job_id}") <= 100
    assert 86_390 <= await redis.ttl(claim) <= 86_400


async def test_the_request_of_a_finished_job_is_let_go(store: JobStore, redis: aioredis.Redis) -> None:
    [job_id] = await submitted(store)
    job = await must_claim(store)
    assert await redis.hexists(f"aip:job:{job_id}", "req")
    await store.complete(job.fence, success(), nonce=nonce())
    assert not await redis.hexists(f"aip:job:{job_id}", "req")


async def test_cancelling_is_idempotent_and_leaves_a_finished_job_as_it_is(store: JobStore) -> None:
    [queued, done] = await submitted(store, 2)
    first = await store.cancel(queued, tenant="default")
    again = await store.cancel(queued, tenant=None)
    assert first is not None
    assert first == again
    assert (first.id, first.status, first.error) == (queued, Status.CANCELLED, None)
    await store.complete((await must_claim(store)).fence, success(), nonce=nonce())
    finished = await store.cancel(done, tenant="default")
    assert finished is not None
    assert (finished.status, finished.result) == (Status.COMPLETED, ANSWER)
    assert await store.ready_count(COMPLETION_CLASSES) == 0


async def test_cancel_racing_complete_writes_exactly_one_end(store: JobStore) -> None:
    ids = await submitted(store, 60)
    jobs = [await must_claim(store) for _ in ids]
    races = [
        asyncio.gather(store.complete(job.fence, success(), nonce=nonce()), store.cancel(job.id, tenant="default"))
        if n % 2
        else asyncio.gather(store.cancel(job.id, tenant="default"), store.complete(job.fence, success(), nonce=nonce()))
        for n, job in enumerate(jobs)
    ]
    for job, answers in zip(jobs, await asyncio.gather(*races), strict=True):
        written = next(answer for answer in answers if isinstance(answer, bool))
        cancelled = next(answer for answer in answers if isinstance(answer, Job))
        after = await read(store, job.id)
        assert after.status is (Status.COMPLETED if written else Status.CANCELLED)
        assert cancelled == after


async def test_every_end_is_told_once_to_those_who_wait(store: JobStore, redis: aioredis.Redis) -> None:
    async with overheard(redis, "aip:done", "aip:stop:w1") as messages:
        [completed, cancelled, expired, waiting] = await submitted(store, 4)
        job = await must_claim(store)
        await store.complete(job.fence, success(), nonce="c1")
        await store.complete(job.fence, success(), nonce="c1")
        await store.cancel(cancelled, tenant="default")
        await redis.zadd("aip:jobs:deadline", {expired: 1})
        assert await store.expire_due() == (expired,)
        await store.cancel(waiting, tenant="default")
        await eventually(lambda: len(messages) == 4)
    assert messages == [("aip:done", job_id) for job_id in (completed, cancelled, expired, waiting)]


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_worker_is_told_to_stop_a_job_that_was_ended_over_its_head(
    store: JobStore, redis: aioredis.Redis, how: str
) -> None:
    [job_id] = await submitted(store)
    job = await must_claim(store)
    async with overheard(redis, "aip:stop:w1") as messages:
        if how == "cancel":
            await store.cancel(job_id, tenant=None)
        else:
            await redis.zadd("aip:jobs:deadline", {job_id: 1})
            await store.expire_due()
        await eventually(lambda: messages)
    assert messages == [("aip:stop:w1", job.fence.nonce)]
    assert await redis.hget(f"aip:job:{job_id}", "fence") == b"2:none"
    assert not await store.complete(job.fence, success(), nonce=nonce())
    assert await store.renew("w1") == {}
    assert (await read(store, job_id)).result is None


async def test_jobs_past_their_deadline_end_in_order_and_within_the_limit(
    store: JobStore, redis: aioredis.Redis
) -> None:
    await submitted(store)
    late = await submitted(store, 5, deadline_ms=0)
    await redis.zadd("aip:jobs:deadline", {"job_gone": 1})
    assert await store.expire_due(limit=3) == tuple(sorted(late)[:2])  # the third is the one without a job
    assert set(await store.expire_due()) == set(sorted(late)[2:])
    assert await store.expire_due() == ()
    assert await redis.zcard("aip:jobs:deadline") == 1


async def test_a_result_larger_than_a_megabyte_survives(store: JobStore) -> None:
    [job_id] = await submitted(store)
    big = {"text": "".join(chr(33 + n % 90) for n in range(1_500_000))}
    how = Outcome(status=Status.COMPLETED, result=codec.pack(big))
    await store.complete((await must_claim(store)).fence, how, nonce=nonce())
    assert (await read(store, job_id)).result == big
