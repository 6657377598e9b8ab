"""Dead letters: listed by tenant, retried once by a new job that harms nobody, gone with their time."""

from __future__ import annotations

import pytest
import redis as sync_redis
import redis.asyncio as aioredis

from infrastructure.core.error_core import NotADeadLetter
from tests.support.jobs import audit, claimed, let_die, must_claim, nonce, submitted, success
from workers.jobs import ids
from workers.jobs.models import COMPLETION_CLASSES, ReadyClass, Status
from workers.jobs.store.dead_letters import DeadLetters
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio
SUSPECTS = (ReadyClass.SUSPECT,)


@pytest.fixture
def store(redis: aioredis.Redis) -> JobStore:
    return JobStore(redis, lease_s=0.3)


@pytest.fixture
def dead(redis: aioredis.Redis) -> DeadLetters:
    return DeadLetters(redis)


async def die_of(store: JobStore, redis: aioredis.Redis, *, alone: bool = False) -> tuple[str, ...]:
    await must_claim(store, classes=SUSPECTS if alone else COMPLETION_CLASSES)
    await let_die(redis)
    return (await store.sweep()).poisoned


async def buried(store: JobStore, redis: aioredis.Redis, count: int = 1, *, tenant: str = "default") -> list[str]:
    """Submit jobs and have each kill its workers until it is a dead letter; return them as they died."""
    found: list[str] = []
    for _ in range(count):
        await submitted(store, tenant=tenant)
        for alone in (False, False, True, True):
            found += await die_of(store, redis, alone=alone)
    assert len(found) == count
    return found


async def test_each_tenant_sees_its_own_latest_first_and_an_operator_all(
    store: JobStore, dead: DeadLetters, redis: aioredis.Redis
) -> None:
    mine, other, last = [await buried(store, redis, tenant=tenant) for tenant in ("a", "b", "a")]
    assert [letter.job.id for letter in (await dead.page("a", limit=10)).letters] == [*last, *mine]
    assert [letter.job.id for letter in (await dead.page(None, limit=10)).letters] == [*last, *other, *mine]
    [letter] = (await dead.page("b", limit=10)).letters
    assert (letter.deaths, letter.job.deliveries, letter.retried_as) == (4, 4, None)
    assert letter.job.error is not None
    assert letter.job.error[0] == "poisoned"
    assert 0 < letter.left_ms <= 86_400_000
    assert (await dead.page("c", limit=10)).letters == ()


async def test_pages_lead_through_all_of_them(store: JobStore, dead: DeadLetters, redis: aioredis.Redis) -> None:
    expected = (await buried(store, redis, 5))[::-1]
    seen: list[str] = []
    after = None
    for left in (3, 1, 0):
        page = await dead.page(None, limit=2, after=after)
        seen += [letter.job.id for letter in page.letters]
        assert page.has_more == (left > 0)
        after = page.next
    assert (seen, after) == (expected, None)


async def test_what_is_gone_leaves_the_list(store: JobStore, dead: DeadLetters, redis: aioredis.Redis) -> None:
    first, second, third = await buried(store, redis, 3)
    await redis.delete(f"aip:job:{first}")
    assert [letter.job.id for letter in (await dead.page(None, limit=10)).letters] == [third, second]
    assert await redis.zscore("aip:dead", first) is None
    await redis.zadd("aip:dead", {second: 1})  # its time is over
    assert [letter.job.id for letter in (await dead.page(None, limit=10)).letters] == [third]
    assert 0 < await redis.pttl("aip:dead") <= 86_400_000
    assert 0 < await redis.pttl("aip:dead:default") <= 86_400_000


async def test_a_page_goes_on_and_is_full_whatever_is_gone(
    store: JobStore, dead: DeadLetters, redis: aioredis.Redis
) -> None:
    letters = await buried(store, redis, 6)
    await redis.delete(f"aip:job:{letters[5]}")  # not the oldest: the time that letters are kept has been changed
    page = await dead.page(None, limit=2)
    assert [letter.job.id for letter in page.letters] == [letters[4], letters[3]]
    for gone in (3, 2):
        await redis.delete(f"aip:job:{letters[gone]}")
        await redis.zrem("aip:dead", letters[gone])
    page = await dead.page(None, limit=2, after=page.next)
    assert [letter.job.id for letter in page.letters] == [letters[1], letters[0]]
    assert (page.has_more, page.next) == (False, None)


async def test_a_retry_is_one_new_job_with_the_same_request(
    store: JobStore, dead: DeadLetters, redis: aioredis.Redis
) -> None:
    [old] = await buried(store, redis)
    before = await redis.hgetall(f"aip:job:{old}")
    first, second = await dead.retry(old, tenant="default"), await dead.retry(old, tenant=None)
    assert first is not None
    assert second is not None
    assert (first.created, second.created, first.job_id) == (True, False, second.job_id)
    assert first.tenant == "default"
    after = await redis.hgetall(f"aip:job:{old}")
    assert after == {**before, b"retried": first.job_id.encode()}  # its end has not changed
    assert (await dead.page(None, limit=1)).letters[0].retried_as == first.job_id
    claim = await must_claim(store, classes=SUSPECTS)
    assert (claim.id, claim.request, claim.deaths) == (first.job_id, before[b"req"], 2)
    job = await store.get(claim.id, tenant="default")
    assert job is not None
    assert (job.retry_of, job.metadata) == (old, {"team": "red"})
    assert job.deadline_at_ms is not None
    assert job.deadline_at_ms - job.created_ms == 3_600_000
    assert await store.complete(claim.fence, success(), nonce=nonce())
    third = await dead.retry(old, tenant="default")
    assert third is not None
    assert (third.created, third.job_id) == (False, first.job_id)
    page = await store.page("default", status=None, limit=10, after=None)
    assert {job.id for job in page.jobs} == {old, first.job_id}


async def test_a_retry_is_run_alone_from_the_start_and_buried_after_two_deaths(
    store: JobStore, dead: DeadLetters, redis: aioredis.Redis
) -> None:
    [old] = await buried(store, redis)
    retried = await dead.retry(old, tenant="default")
    assert retried is not None
    assert await claimed(store) is None  # no worker that has other jobs gets it
    assert await die_of(store, redis, alone=True) == ()
    assert await claimed(store) is None
    assert await die_of(store, redis, alone=True) == (retried.job_id,)
    letters = (await dead.page(None, limit=10)).letters
    assert [(letter.job.id, letter.job.retry_of) for letter in letters] == [(retried.job_id, old), (old, None)]
    again = await dead.retry(retried.job_id, tenant="default")
    assert again is not None
    assert again.created


async def test_a_script_sent_twice_makes_one_retry(
    store: JobStore, dead: DeadLetters, redis: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    [old] = await buried(store, redis)
    one = ids.new_job_id()
    monkeypatch.setattr(ids, "new_job_id", lambda: one)
    for _ in range(2):
        retried = await dead.retry(old, tenant="default")
        assert retried is not None
        assert (retried.job_id, retried.created) == (one, True)
    assert await store.ready_count(SUSPECTS) == 1


@pytest.mark.parametrize("status", [Status.QUEUED, Status.IN_PROGRESS, Status.COMPLETED, Status.CANCELLED])
async def test_only_a_dead_letter_can_be_retried(store: JobStore, dead: DeadLetters, status: Status) -> None:
    [job_id] = await submitted(store)
    if status in {Status.IN_PROGRESS, Status.COMPLETED}:
        claim = await must_claim(store)
        if status is Status.COMPLETED:
            await store.complete(claim.fence, success(), nonce=nonce())
    if status is Status.CANCELLED:
        await store.cancel(job_id, tenant=None)
    with pytest.raises(NotADeadLetter):
        await dead.retry(job_id, tenant="default")


async def test_another_tenant_s_dead_letter_is_not_there(
    store: JobStore, dead: DeadLetters, redis: aioredis.Redis
) -> None:
    [old] = await buried(store, redis)
    assert await dead.retry(old, tenant="other") is None
    assert await dead.retry(ids.new_job_id(), tenant=None) is None
    assert await redis.hget(f"aip:job:{old}", "retried") is None


async def test_all_keys_fit_each_other_afterwards(
    store: JobStore, dead: DeadLetters, redis: aioredis.Redis, redis_url: str
) -> None:
    for old in await buried(store, redis, 2):
        await dead.retry(old, tenant="default")
    await must_claim(store, classes=SUSPECTS)
    client = sync_redis.Redis.from_url(redis_url)
    assert audit(client) == []
    client.close()
