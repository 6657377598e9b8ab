"""Claiming: what is due next, and that one claim is one claim."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import redis.asyncio as aioredis

from tests.support.jobs import claimed, must_claim, new_job, nonce, shared_store, submitted, success
from workers.jobs.models import COMPLETION_CLASSES, Priority, ReadyClass, Status
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    async with shared_store(redis_url) as store:
        yield store


async def tenants_of(store: JobStore, count: int) -> list[str]:
    return [(await must_claim(store)).tenant for _ in range(count)]


async def test_the_oldest_job_is_claimed_first_whatever_the_hint(store: JobStore) -> None:
    first, second = await submitted(store, 2)
    job = await store.claim("w1", nonce=nonce(), classes=COMPLETION_CLASSES, hint=second)
    assert job is not None
    assert (job.id, job.deliveries, job.deaths) == (first, 1, 0)
    assert 3_500_000 < job.remaining_ms <= 3_600_000
    assert (await must_claim(store)).id == second
    assert await claimed(store) is None


async def test_a_claim_brings_the_id_of_the_request_that_submitted_the_job(store: JobStore) -> None:
    await store.submit(replace(new_job(), request_id="req_1"))
    await store.submit(new_job())
    assert [(await must_claim(store)).request_id for _ in range(2)] == ["req_1", None]


async def test_a_claimed_job_reads_as_in_progress(store: JobStore) -> None:
    [job_id] = await submitted(store)
    await must_claim(store)
    read = await store.get(job_id, tenant="default")
    assert read is not None
    assert (read.status, read.deliveries) == (Status.IN_PROGRESS, 1)
    assert read.started_ms is not None


async def test_the_same_nonce_gets_the_same_job_and_counts_one_delivery(store: JobStore) -> None:
    await submitted(store, 2)
    first = await store.claim("w1", nonce="n1", classes=COMPLETION_CLASSES)
    again = await store.claim("w1", nonce="n1", classes=COMPLETION_CLASSES)
    assert first is not None
    assert again is not None
    assert (again.fence, again.deliveries, again.request) == (first.fence, 1, first.request)
    assert await store.ready_count(COMPLETION_CLASSES) == 1


async def test_a_claim_can_be_asked_back_by_its_nonce_without_taking_another(store: JobStore) -> None:
    await submitted(store, 2)
    job = await store.claim("w1", nonce="n1", classes=COMPLETION_CLASSES)
    assert job is not None
    back = await store.claim("w1", nonce="n1", classes=())
    assert back is not None
    assert back.fence == job.fence
    assert await store.claim("w1", nonce="n2", classes=()) is None


async def test_concurrent_claims_hand_out_each_job_once(store: JobStore) -> None:
    ids = await submitted(store, 150)

    async def work(owner: str) -> list[str]:
        got = []
        while job := await claimed(store, owner):
            got.append(job.id)
        return got

    shares = await asyncio.gather(*(work(f"w{n % 4}") for n in range(24)))
    assert sorted(job_id for share in shares for job_id in share) == sorted(ids)


async def test_jobs_of_a_higher_class_are_claimed_first(store: JobStore) -> None:
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        await submitted(store, priority=priority)
    assert [(await must_claim(store)).ready_class for _ in range(3)] == [*COMPLETION_CLASSES]


async def test_only_the_classes_asked_for_are_claimed(store: JobStore) -> None:
    await submitted(store, priority=Priority.LOW)
    assert await claimed(store, classes=[ReadyClass.HIGH, ReadyClass.SUSPECT]) is None
    assert await store.ready_count([ReadyClass.HIGH]) == 0
    assert await store.ready_count([ReadyClass.LOW]) == 1


async def test_every_tenth_claim_goes_to_a_lower_class_and_the_lower_ones_take_turns(store: JobStore) -> None:
    for priority in Priority:
        await submitted(store, 40, priority=priority)
    classes = [(await must_claim(store)).ready_class.value for _ in range(40)]
    assert Counter(classes) == {"high": 36, "normal": 2, "low": 2}
    assert [classes[at] for at in (9, 19, 29, 39)] == ["normal", "low", "normal", "low"]


async def test_without_lower_jobs_the_tenth_claim_goes_to_the_highest(store: JobStore) -> None:
    await submitted(store, 12, priority=Priority.LOW)
    assert [(await must_claim(store)).ready_class for _ in range(12)] == [ReadyClass.LOW] * 12


async def test_two_flows_share_whatever_the_length_of_their_lines(store: JobStore) -> None:
    await submitted(store, 100, tenant="many")
    await submitted(store, 5, tenant="few")
    assert Counter(await tenants_of(store, 10)) == {"many": 5, "few": 5}
    assert await tenants_of(store, 95) == ["many"] * 95


async def test_a_flow_that_was_idle_has_saved_up_nothing(store: JobStore) -> None:
    await submitted(store, 60, tenant="busy")
    await tenants_of(store, 40)
    await submitted(store, 40, tenant="idle")
    assert Counter(await tenants_of(store, 20)) == {"busy": 10, "idle": 10}


@pytest.mark.parametrize("name", ["aaa", "zzz"])
async def test_a_flow_that_submits_one_at_a_time_gets_its_share_and_no_more(store: JobStore, name: str) -> None:
    await submitted(store, 60, tenant="mmm")
    seen: Counter[str] = Counter()
    await submitted(store, tenant=name)
    for _ in range(40):
        tenant = (await must_claim(store)).tenant
        seen[tenant] += 1
        if tenant == name:
            await submitted(store, tenant=name)
    assert abs(seen[name] - seen["mmm"]) <= 2


async def test_flows_that_come_and_go_leave_nothing_behind(store: JobStore, redis: aioredis.Redis) -> None:
    for n in range(20):
        await submitted(store, tenant=f"t{n}")
    await tenants_of(store, 20)
    assert await claimed(store) is None
    assert not await redis.exists("aip:flows:normal")


async def test_a_claim_passes_over_what_is_past_its_deadline_and_ends_it(store: JobStore) -> None:
    dead = await submitted(store, 250, deadline_ms=0)  # more than one run of the script clears away
    [alive] = await submitted(store)
    assert (await must_claim(store)).id == alive
    read = await store.get(dead[0], tenant="default")
    assert read is not None
    assert (read.status, read.error and read.error[0]) == (Status.EXPIRED, "deadline_exceeded")


async def test_a_claim_removes_ids_whose_job_is_gone(store: JobStore, redis: aioredis.Redis) -> None:
    gone, there = await submitted(store, 2)
    await redis.delete(f"aip:job:{gone}")
    assert (await must_claim(store)).id == there
    assert await claimed(store) is None


async def test_a_claim_removes_ids_whose_job_has_ended(store: JobStore, redis: aioredis.Redis) -> None:
    [ended] = await submitted(store)
    await store.cancel(ended, tenant=None)
    await redis.zadd("aip:ready:normal:default", {ended: 1})
    await redis.zadd("aip:flows:normal", {"default": 0})
    assert await claimed(store) is None
    assert not await redis.exists("aip:ready:normal:default")


async def test_only_the_claim_that_holds_a_job_can_give_it_back(store: JobStore, redis: aioredis.Redis) -> None:
    [job_id] = await submitted(store)
    old = await must_claim(store, "w1")
    assert await store.give_back(old.fence)
    assert await redis.hget(f"aip:job:{job_id}", "fence") == b"2:none"
    new = await must_claim(store, "w2")
    assert not await store.give_back(old.fence)
    assert await store.renew("w2") == {new.fence.nonce: job_id}


async def test_a_job_given_back_keeps_its_place_and_its_deliveries(store: JobStore) -> None:
    ids = await submitted(store, 3)
    first = await must_claim(store)
    second = await must_claim(store)
    assert await store.give_back(second.fence)
    assert await store.give_back(first.fence)
    assert not await store.give_back(first.fence)
    again = [await must_claim(store) for _ in range(3)]
    assert [job.id for job in again] == ids
    assert [job.deliveries for job in again] == [1, 1, 1]
    assert again[0].fence.value != first.fence.value


async def test_a_job_given_back_reads_as_queued_and_not_started(store: JobStore) -> None:
    [job_id] = await submitted(store)
    await store.give_back((await must_claim(store)).fence)
    read = await store.get(job_id, tenant="default")
    assert read is not None
    assert (read.status, read.started_ms, read.deliveries) == (Status.QUEUED, None, 0)


async def test_what_was_given_back_cannot_be_completed_under_the_old_fence(store: JobStore) -> None:
    await submitted(store)
    job = await must_claim(store)
    await store.give_back(job.fence)
    assert not await store.complete(job.fence, success(), nonce=nonce())
    again = await must_claim(store)
    assert not await store.complete(job.fence, success(), nonce=nonce())
    assert await store.complete(again.fence, success(), nonce=nonce())


async def test_a_nonce_serves_another_job_once_its_own_was_taken_away(store: JobStore) -> None:
    first, second = await submitted(store, 2)
    await store.claim("w1", nonce="n1", classes=COMPLETION_CLASSES)
    await store.cancel(first, tenant="default")
    job = await store.claim("w1", nonce="n1", classes=COMPLETION_CLASSES)
    assert job is not None
    assert job.id == second


async def test_jobs_of_one_millisecond_are_claimed_in_the_order_of_their_ids(store: JobStore) -> None:
    jobs = [new_job() for _ in range(60)]
    await asyncio.gather(*(store.submit(job) for job in jobs))
    got = [await must_claim(store) for _ in range(60)]
    created = [(await store.get(job.id, tenant="default"), job.id) for job in got]
    order = [(job.created_ms, job_id) for job, job_id in created if job is not None]
    assert order == sorted(order)
