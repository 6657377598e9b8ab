"""A job's history: each step of its life is in it once, and is told to whoever watches the job."""

from __future__ import annotations

import pytest
import redis.asyncio as aioredis

from tests.support.jobs import claimed, let_die, must_claim, nonce, overheard, submitted, success
from tests.support.waiting import eventually
from workers.jobs.models import Happened, ReadyClass, What
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio
SUSPECTS = (ReadyClass.SUSPECT,)


@pytest.fixture
def store(redis: aioredis.Redis) -> JobStore:
    return JobStore(redis, lease_s=0.3)


async def history_of(store: JobStore, job_id: str) -> tuple[Happened, ...]:
    found = await store.history(job_id, tenant="default")
    assert found is not None
    return found[1]


async def steps(store: JobStore, job_id: str) -> list[tuple[int, str, int]]:
    return [(one.number, one.what.value, one.delivery) for one in await history_of(store, job_id)]


async def test_a_life_is_told_step_by_step(store: JobStore, redis: aioredis.Redis) -> None:
    [job_id] = await submitted(store)
    await store.give_back((await must_claim(store)).fence)
    assert await store.put_back((await must_claim(store)).fence, delay_ms=0)
    await store.promote()
    await must_claim(store)
    await let_die(redis)
    await store.sweep()
    last = await must_claim(store)
    assert await store.complete(last.fence, success(), nonce=nonce())
    assert await steps(store, job_id) == [
        (1, "queued", 0),
        (2, "in_progress", 1),
        (3, "queued", 1),
        (4, "in_progress", 1),
        (5, "put_back", 1),
        (6, "in_progress", 1),
        (7, "rescued", 1),
        (8, "in_progress", 2),
        (9, "completed", 2),
    ]
    history = await history_of(store, job_id)
    found = await store.get(job_id, tenant="default")
    assert found is not None
    assert (history[0].at_ms, history[-1].at_ms) == (found.created_ms, found.finished_ms)
    assert [one.until_ms for one in history if one.until_ms] == [history[4].at_ms]
    assert sorted(one.at_ms for one in history) == [one.at_ms for one in history]


@pytest.mark.parametrize("held", [False, True])
async def test_every_end_is_the_last_thing_told(store: JobStore, redis: aioredis.Redis, *, held: bool) -> None:
    ids = await submitted(store, 3)
    for _ in range(3 if held else 0):
        await must_claim(store)
    await store.cancel(ids[0], tenant="default")
    await redis.zadd("aip:jobs:deadline", {ids[1]: 1})
    assert await store.expire_due() == (ids[1],)
    ends = [(await history_of(store, job_id))[-1].what for job_id in ids]
    assert ends == [What.CANCELLED, What.EXPIRED, What.IN_PROGRESS if held else What.QUEUED]


async def test_a_dead_letter_s_last_word_is_that_it_failed(store: JobStore, redis: aioredis.Redis) -> None:
    [job_id] = await submitted(store)
    for classes in (None, None, SUSPECTS, SUSPECTS):
        await (must_claim(store, classes=classes) if classes else must_claim(store))
        await let_die(redis)
        await store.sweep()
    assert (await steps(store, job_id))[-3:] == [(7, "rescued", 3), (8, "in_progress", 4), (9, "failed", 4)]


async def test_a_script_sent_twice_is_told_once(store: JobStore) -> None:
    [job_id] = await submitted(store)
    first = await must_claim(store)
    again = await store.claim("w1", nonce=first.fence.nonce, classes=())
    assert again is not None
    for _ in range(2):
        assert await store.put_back(first.fence, delay_ms=0)
    await store.promote()
    claim, write = await must_claim(store), nonce()
    for _ in range(2):
        assert await store.complete(claim.fence, success(), nonce=write)
    assert not await store.complete(first.fence, success(), nonce=nonce())
    assert [what for _, what, _ in await steps(store, job_id)] == [
        "queued", "in_progress", "put_back", "in_progress", "completed",
    ]  # fmt: skip


async def test_each_step_but_the_end_is_told_on_the_job_s_own_channel(store: JobStore, redis: aioredis.Redis) -> None:
    [job_id, _] = await submitted(store, 2)
    async with overheard(redis, f"aip:moved:{job_id}", "aip:done") as messages:
        claim = await must_claim(store)
        await must_claim(store)  # another's steps are not heard
        await store.put_back(claim.fence, delay_ms=0)
        await store.promote()
        claim = await must_claim(store)
        await store.complete(claim.fence, success(), nonce=nonce())
        await eventually(lambda: ("aip:done", job_id) in messages)
    assert messages == [(f"aip:moved:{job_id}", "")] * 3 + [("aip:done", job_id)]


async def test_a_very_long_life_keeps_its_beginning_and_its_end(store: JobStore, redis: aioredis.Redis) -> None:
    [job_id] = await submitted(store)
    longest = 0
    for _ in range(700):
        assert await store.put_back((await must_claim(store)).fence, delay_ms=0)
        await store.promote()
        longest = max(longest, await redis.hstrlen(f"aip:job:{job_id}", "hist"))
    numbers = [one.number for one in await history_of(store, job_id)]
    assert longest < 12_100
    assert numbers[:100] == list(range(1, 101))
    assert numbers[-100:] == list(range(1_302, 1_402))
    assert numbers == sorted(set(numbers))


async def test_a_step_costs_few_bytes(store: JobStore, redis: aioredis.Redis) -> None:
    [job_id] = await submitted(store)
    claim = await must_claim(store)
    await store.complete(claim.fence, success(), nonce=nonce())
    assert await redis.hstrlen(f"aip:job:{job_id}", "hist") <= 3 * 20


async def test_a_job_of_before_there_were_histories_is_run_and_told_from_there_on(
    store: JobStore, redis: aioredis.Redis
) -> None:
    [job_id] = await submitted(store)
    await redis.hdel(f"aip:job:{job_id}", "hist")
    assert await history_of(store, job_id) == ()
    assert await claimed(store) is not None
    assert await steps(store, job_id) == [(1, "in_progress", 1)]


async def test_another_tenant_s_history_is_not_there(store: JobStore) -> None:
    [job_id] = await submitted(store, tenant="a")
    assert await store.history(job_id, tenant="b") is None
