"""Dead workers: their jobs come back, those of the living do not, and what kills workers is put away."""

from __future__ import annotations

import pytest
import redis.asyncio as aioredis

from tests.support.jobs import claimed, let_die, must_claim, nonce, overheard, submitted, success, swept_for_long
from tests.support.waiting import eventually
from workers.jobs.models import COMPLETION_CLASSES, ReadyClass, Status, Swept
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio

LEASE_S = 0.3
SUSPECTS = (ReadyClass.SUSPECT,)


@pytest.fixture
def store(redis: aioredis.Redis) -> JobStore:
    return JobStore(redis, lease_s=LEASE_S)


async def rescue(store: JobStore, redis: aioredis.Redis, owner: str = "w1") -> Swept:
    await let_die(redis, owner)
    return await store.sweep()


async def test_a_dead_worker_s_jobs_come_back_after_a_lease_of_sweeps(store: JobStore) -> None:
    ids = await submitted(store, 3)
    for _ in range(2):
        await must_claim(store, "w1")
    seen: list[Swept] = []

    async def swept() -> tuple[str, ...]:
        seen.append(await store.sweep())
        await store.renew("w2")
        return seen[-1].rescued

    assert await claimed(store, "w2") is not None
    rescued: tuple[str, ...] = await eventually(swept, within_s=5)
    assert [job for sweep in seen[:-1] for job in sweep.rescued] == []
    assert seen[-1].unbroken_ms >= LEASE_S * 1000
    assert sorted(rescued) == sorted(ids[:2])
    assert await store.ready_count(COMPLETION_CLASSES) == 2


async def test_a_rescued_job_is_back_in_its_old_place_with_a_death(store: JobStore, redis: aioredis.Redis) -> None:
    first, second = await submitted(store, 2)
    lost = await must_claim(store, "w1")
    assert (await rescue(store, redis)).rescued == (first,)
    read = await store.get(first, tenant="default")
    assert read is not None
    assert (read.status, read.started_ms) == (Status.QUEUED, None)
    assert not await store.complete(lost.fence, success(), nonce=nonce())
    assert not await store.give_back(lost.fence)
    again = await must_claim(store, "w2")
    assert (again.id, again.deliveries, again.deaths) == (first, 2, 1)
    assert (await must_claim(store, "w2")).id == second
    assert (await store.counters())["rescued"] == 1


async def test_whoever_waits_and_a_worker_that_lives_after_all_hear_of_a_rescue(
    store: JobStore, redis: aioredis.Redis
) -> None:
    [job_id] = await submitted(store)
    lost = [await must_claim(store)]
    async with overheard(redis, "aip:stop:w1", "aip:done") as messages:
        await rescue(store, redis)
        lost.append(await must_claim(store))
        await rescue(store, redis)
        for _ in range(2):
            lost.append(await must_claim(store, classes=SUSPECTS))
            await rescue(store, redis)
        await eventually(lambda: len(messages) == 5)
    assert messages == [*(("aip:stop:w1", job.fence.nonce) for job in lost), ("aip:done", job_id)]


async def test_a_dead_worker_is_forgotten_and_may_come_back(store: JobStore, redis: aioredis.Redis) -> None:
    await submitted(store)
    await must_claim(store, "w1")
    await rescue(store, redis)
    assert await redis.zscore("aip:workers", "w1") is None
    assert await store.renew("w1") == {}
    assert await redis.zscore("aip:workers", "w1") is not None


async def test_a_worker_that_claims_before_its_first_heartbeat_is_found(store: JobStore, redis: aioredis.Redis) -> None:
    await submitted(store)
    await must_claim(store, "newcomer")
    assert await redis.zscore("aip:workers", "newcomer") is not None


async def test_a_claim_is_no_heartbeat(store: JobStore, redis: aioredis.Redis) -> None:
    await submitted(store, 2)
    await must_claim(store, "w1")
    await redis.zadd("aip:workers", {"w1": 1}, xx=True)
    await must_claim(store, "w1")
    assert await redis.zscore("aip:workers", "w1") == 1


async def test_a_stall_rescues_nobody_who_lives(store: JobStore, redis: aioredis.Redis) -> None:
    await submitted(store)
    await must_claim(store, "w1")
    await redis.zadd("aip:workers", {"w1": 1}, xx=True)  # silent far longer than a lease, as all are after a stall
    seconds, _ = await redis.time()
    await redis.hset("aip:sweep", mapping={"last": (seconds - 60) * 1000, "since": 1})
    swept = await store.sweep()
    assert (swept.rescued, swept.unbroken_ms) == ((), 0)
    await store.renew("w1")
    await swept_for_long(redis)
    assert (await store.sweep()).rescued == ()


@pytest.mark.parametrize("back_ms", [3_600_000, 1])
async def test_a_clock_set_back_begins_a_new_lease_and_keeps_no_dead_worker_alive(
    store: JobStore, redis: aioredis.Redis, back_ms: int
) -> None:
    await submitted(store)
    await must_claim(store, "w1")
    seconds, _ = await redis.time()
    future = (seconds + 60) * 1000 + back_ms
    await redis.zadd("aip:workers", {"w1": future})
    await redis.hset("aip:sweep", mapping={"last": future, "since": 1})
    assert (await store.sweep()).unbroken_ms == 0
    score = await redis.zscore("aip:workers", "w1")
    assert score is not None
    assert score < future - 50_000


async def test_two_deaths_make_a_suspect_and_two_more_alone_a_dead_letter(
    store: JobStore, redis: aioredis.Redis
) -> None:
    [job_id] = await submitted(store)
    for deaths in (1, 2):
        await must_claim(store, "w1")
        assert (await rescue(store, redis)).rescued == (job_id,)
        assert await store.ready_count(COMPLETION_CLASSES) == 2 - deaths
    assert await claimed(store) is None
    suspect = await must_claim(store, "w1", classes=SUSPECTS)
    assert (suspect.id, suspect.deaths, suspect.deliveries) == (job_id, 2, 3)
    assert (await rescue(store, redis)).rescued == (job_id,)
    assert (await must_claim(store, "w1", classes=SUSPECTS)).deaths == 3
    assert (await rescue(store, redis)).poisoned == (job_id,)
    read = await store.get(job_id, tenant="default")
    assert read is not None
    assert (read.status, read.error and read.error[0]) == (Status.FAILED, "poisoned")
    assert await redis.hexists(f"aip:job:{job_id}", "req")
    assert await redis.zrange("aip:dead", 0, -1) == [job_id.encode()]
    assert await redis.ttl("aip:dead") > 0
    assert await redis.ttl(f"aip:job:{job_id}") > 0
    assert (await store.counters())["poisoned"] == 1


async def test_a_suspect_that_ends_well_is_a_job_like_any_other(store: JobStore, redis: aioredis.Redis) -> None:
    [job_id] = await submitted(store)
    for _ in range(2):
        await must_claim(store, "w1")
        await rescue(store, redis)
    suspect = await must_claim(store, classes=SUSPECTS)
    assert await store.give_back(suspect.fence)
    assert await store.ready_count(SUSPECTS) == 1
    assert await store.complete((await must_claim(store, classes=SUSPECTS)).fence, success(), nonce=nonce())
    read = await store.get(job_id, tenant="default")
    assert read is not None
    assert read.status is Status.COMPLETED


async def test_dead_letters_leave_the_list_with_their_jobs(redis: aioredis.Redis) -> None:
    store = JobStore(redis, lease_s=LEASE_S, max_deaths=1)
    await redis.zadd("aip:dead", {"job_long_gone": 1})
    [job_id] = await submitted(store)
    await must_claim(store, "w1")
    await rescue(store, redis)
    for _ in range(2):
        await must_claim(store, "w1", classes=SUSPECTS)
        await rescue(store, redis)
    assert await redis.zrange("aip:dead", 0, -1) == [job_id.encode()]


async def test_a_sweep_rescues_a_bounded_number_and_the_next_goes_on(
    store: JobStore, redis: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.jobs.store.job_store.RESCUED_IN_ONE_GO", 3)
    ids = await submitted(store, 5)
    for _ in ids:
        await must_claim(store, "w1")
    one = await rescue(store, redis)
    assert (len(one.rescued), await redis.zscore("aip:workers", "w1")) == (3, 1)
    two = await store.sweep()
    assert sorted((*one.rescued, *two.rescued)) == ids
    assert await redis.zscore("aip:workers", "w1") is None


async def test_a_heartbeat_tells_a_worker_what_it_has(store: JobStore) -> None:
    await submitted(store, 3)
    mine = [await must_claim(store, "w1") for _ in range(2)]
    await must_claim(store, "w2")
    assert await store.renew("w1") == {job.fence.nonce: job.id for job in mine}
    assert await store.renew("w3") == {}


async def test_a_worker_that_retires_gives_all_back_and_is_forgotten(
    store: JobStore, redis: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.jobs.store.job_store.RESCUED_IN_ONE_GO", 2)
    ids = await submitted(store, 5)
    for _ in ids:
        await must_claim(store, "w1")
    await store.renew("w1")
    await store.retire("w1")
    assert await redis.exists("aip:workers", "aip:owner:w1:jobs") == 0
    again = [await must_claim(store, "w2") for _ in ids]
    assert [job.id for job in again] == ids
    assert {(job.deliveries, job.deaths) for job in again} == {(1, 0)}
