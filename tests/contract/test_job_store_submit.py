"""Submitting and reading jobs: what a 202 wrote, once, and for whose eyes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as aioredis

from infrastructure.core.error_core import IdempotencyGone, IdempotencyMismatch
from tests.support.jobs import ANSWER, claimed, members, must_claim, new_job, nonce, shared_store, submitted, success
from tests.support.waiting import eventually
from workers.jobs import codec
from workers.jobs.models import COMPLETION_CLASSES, ReadyClass, Status
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    async with shared_store(redis_url) as store:
        yield store


async def test_a_submitted_job_is_queued_and_reads_as_it_was_given(store: JobStore) -> None:
    job = new_job(tenant="acme", deadline_ms=60_000)
    assert await store.submit(job) == await store.submit(job)  # sent again
    read = await store.get(job.id, tenant="acme")
    assert read is not None
    assert (read.status, read.model, read.kind, read.metadata) == (Status.QUEUED, "chat", "completion", {"team": "red"})
    assert read.deadline_at_ms == read.created_ms + 60_000
    assert (read.started_ms, read.finished_ms, read.result, read.error, read.cost_usd) == (None,) * 5
    assert await store.ready_count(COMPLETION_CLASSES) == 1


async def test_another_tenants_job_and_an_unknown_one_are_both_none(store: JobStore) -> None:
    [job_id] = await submitted(store, tenant="acme")
    assert await store.get(job_id, tenant="other") is None
    assert await store.get("job_" + "0" * 32, tenant="acme") is None
    assert await store.cancel(job_id, tenant="other") is None
    assert (await must_claim(store)).id == job_id


async def test_a_finished_job_reads_with_its_whole_outcome(store: JobStore) -> None:
    [job_id] = await submitted(store)
    job = await must_claim(store)
    assert await store.complete(job.fence, success(cost_usd=1e-7), nonce=nonce())
    read = await store.get(job_id, tenant="default")
    assert read is not None
    assert (read.status, read.result, read.cost_usd, read.cache) == (Status.COMPLETED, ANSWER, 1e-7, "miss")
    assert read.usage == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert read.started_ms is not None
    assert read.finished_ms is not None
    assert read.created_ms <= read.started_ms <= read.finished_ms


async def test_an_unknown_cost_reads_as_none_and_nothing_as_zero(store: JobStore) -> None:
    for cost_usd in (None, 0.0):
        [job_id] = await submitted(store)
        await store.complete((await must_claim(store)).fence, success(cost_usd=cost_usd), nonce=nonce())
        read = await store.get(job_id, tenant="default")
        assert read is not None
        assert read.cost_usd == cost_usd


async def test_two_hundred_submits_under_one_idempotency_key_make_one_job(store: JobStore) -> None:
    answers = await asyncio.gather(*(store.submit(new_job(idempotency=("key", "body"))) for _ in range(200)))
    assert len({answer.job_id for answer in answers}) == 1
    assert sum(answer.created for answer in answers) == 1
    assert await store.ready_count(COMPLETION_CLASSES) == 1


async def test_an_idempotency_key_is_the_tenants_own_and_outlives_the_job_until_it_expires(store: JobStore) -> None:
    first = await store.submit(new_job(tenant="acme", idempotency=("key", "body")))
    assert (await store.submit(new_job(tenant="other", idempotency=("key", "body")))).created
    await store.cancel(first.job_id, tenant="acme")
    again = await store.submit(new_job(tenant="acme", idempotency=("key", "body")))
    assert (again.job_id, again.created) == (first.job_id, False)


async def test_an_idempotency_key_with_another_body_is_refused_and_writes_nothing(
    store: JobStore, redis: aioredis.Redis
) -> None:
    await store.submit(new_job(idempotency=("key", "body")))
    before = await redis.dbsize()
    with pytest.raises(IdempotencyMismatch):
        await store.submit(new_job(idempotency=("key", "other")))
    assert await redis.dbsize() == before


@pytest.mark.parametrize("result_ttl_s", [10, 200_000])
async def test_a_claim_is_kept_a_day_from_the_submit_and_at_least_as_long_as_the_job(
    redis: aioredis.Redis, result_ttl_s: int
) -> None:
    store = JobStore(redis, result_ttl_s=result_ttl_s)
    [job_id] = await submitted(store, idempotency=("key", "body"))
    [claim] = await redis.keys("aip:idem:*")
    assert await redis.pttl(claim) == -1  # the job lives
    created_ms = int(await redis.hget(f"aip:job:{job_id}", "created") or 0) - 3_600_000
    await redis.hset(f"aip:job:{job_id}", "created", created_ms)  # submitted an hour ago
    await store.cancel(job_id, tenant=None)
    kept_s = await redis.pttl(claim) / 1000
    expected_s = max(result_ttl_s, 86_400 - 3_600)
    assert expected_s - 10 < kept_s <= expected_s
    assert await redis.pttl(claim) >= await redis.pttl(f"aip:job:{job_id}")


async def test_a_repeat_whose_job_is_not_kept_any_more_makes_no_second_one(redis: aioredis.Redis) -> None:
    store = JobStore(redis, result_ttl_s=0.05)
    [job_id] = await submitted(store, idempotency=("key", "body"))
    await store.complete((await must_claim(store)).fence, success(), nonce=nonce())
    await eventually(lambda: _is_gone(redis, job_id))
    with pytest.raises(IdempotencyGone, match=job_id):
        await store.submit(new_job(idempotency=("key", "body")))
    with pytest.raises(IdempotencyMismatch):
        await store.submit(new_job(idempotency=("key", "other")))
    assert await claimed(store) is None
    assert (await store.submit(new_job(idempotency=("new key", "body")))).created


async def _is_gone(redis: aioredis.Redis, job_id: str) -> bool:
    return not await redis.exists(f"aip:job:{job_id}")


async def test_the_claim_of_a_live_job_that_was_taken_away_by_hand_goes_in_a_day(
    store: JobStore, redis: aioredis.Redis
) -> None:
    first = await store.submit(new_job(idempotency=("key", "body")))
    await redis.delete(f"aip:job:{first.job_id}")
    with pytest.raises(IdempotencyGone):
        await store.submit(new_job(idempotency=("key", "body")))
    [claim] = await redis.keys("aip:idem:*")
    assert 0 < await redis.pttl(claim) <= 86_400_000


async def test_a_submit_sent_again_after_its_job_ran_starts_nothing(store: JobStore) -> None:
    job = dataclasses.replace(new_job(), idempotency=("key", "body"))
    await store.submit(job)
    await store.complete((await must_claim(store)).fence, success(), nonce=nonce())
    assert (await store.submit(job)).created
    assert await claimed(store) is None


async def test_a_caller_s_idempotency_key_is_in_no_key_name(store: JobStore, redis: aioredis.Redis) -> None:
    await store.submit(new_job(idempotency=("a secret of theirs", "body")))
    assert not [name for name in await redis.keys("*") if b"secret" in name]


async def test_the_list_of_a_tenant_lets_go_of_jobs_that_are_gone(store: JobStore, redis: aioredis.Redis) -> None:
    old = await submitted(store, 30)
    await redis.delete(*(f"aip:job:{job_id}" for job_id in old))
    new = await submitted(store, 10)
    assert set(members(await redis.zrange("aip:tenant:default:jobs", 0, -1))) == set(new)


async def test_the_list_of_a_tenant_outlives_its_jobs_and_then_goes(redis: aioredis.Redis) -> None:
    store = JobStore(redis, result_ttl_s=10)
    await submitted(store, deadline_ms=100_000)
    await submitted(store, deadline_ms=1_000)
    assert 100_000 + 20_000 <= await redis.pttl("aip:tenant:default:jobs") <= 100_000 + 30_000


async def test_the_prefix_parts_two_services_on_one_redis(store: JobStore, redis: aioredis.Redis) -> None:
    other = JobStore(redis, prefix="other")
    [job_id] = await submitted(store)
    assert await other.get(job_id, tenant="default") is None
    assert await claimed(other) is None


async def test_a_request_comes_back_byte_for_byte(store: JobStore) -> None:
    request = {"params": {"messages": [{"role": "user", "content": "\x00\n:ü🦆" * 500}]}}
    job = new_job(request=request)
    await store.submit(job)
    got = await must_claim(store)
    assert got.request == job.request
    assert codec.unpack(got.request) == request
    assert (got.ready_class, got.tenant, got.config_version) == (ReadyClass.NORMAL, "default", "v1")
