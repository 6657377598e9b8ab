"""Room in line: limits that no number of submits at once passes, counted right whatever becomes of the jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as aioredis

from infrastructure.core.logger_core import get_logger
from infrastructure.core.redis_core import connect_sync
from tests.support.jobs import audit, let_die, members, must_claim, new_job, nonce, shared_store, submitted, success
from workers.handlers import upkeep
from workers.jobs.models import COMPLETION_CLASSES, Priority, ReadyClass, Submitted
from workers.jobs.room import NO_LIMITS, Limits, Reason, Refused
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio
JUDGED_WITHIN_US = 1_000


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[JobStore]:
    async with shared_store(redis_url) as store:
        yield store
    with connect_sync(redis_url) as client:
        assert audit(client) == []


async def refused(store: JobStore, limits: Limits, **options: object) -> Reason | None:
    """Submit one job; return why it did not get in, None when it did. The look before has to say the same."""
    job = new_job(**options)  # type: ignore[arg-type]
    looked = await store.room(job.tenant, idempotency_key=None, limits=limits)
    done = await store.admit(job, limits=limits)
    reason = done.reason if isinstance(done, Refused) else None
    assert looked.refusals[job.priority] == reason
    return reason


@pytest.mark.parametrize(
    ("limits", "reason", "most"),
    [(Limits(of_tenant=10), Reason.TENANT_FULL, 10), (Limits(of_all=20, reserve=0.5), Reason.FULL, 10)],
)
async def test_sixty_four_submits_at_once_pass_no_limit(
    store: JobStore, limits: Limits, reason: Reason, most: int
) -> None:
    done = await asyncio.gather(*(store.admit(new_job(), limits=limits) for _ in range(64)))
    let_in = [one for one in done if isinstance(one, Submitted)]
    assert len(let_in) == await store.ready_count(COMPLETION_CLASSES) == most
    assert sorted(one.waiting or 0 for one in let_in) == [*range(1, most + 1)]
    assert {one.reason for one in done if isinstance(one, Refused)} == {reason}


async def test_a_refusal_writes_nothing(store: JobStore, redis: aioredis.Redis) -> None:
    await submitted(store, 3)
    before = {name: await redis.dump(name) for name in members(await redis.keys("*"))}
    assert await refused(store, Limits(of_tenant=3), idempotency=("key", "body")) is Reason.TENANT_FULL
    assert {name: await redis.dump(name) for name in members(await redis.keys("*"))} == before


async def test_a_tenant_at_its_limit_keeps_no_other_one_out(store: JobStore) -> None:
    limits = Limits(of_tenant=3, of_all=10)
    await submitted(store, 3, tenant="full")
    assert await refused(store, limits, tenant="full", priority=Priority.HIGH) is Reason.TENANT_FULL
    assert await refused(store, limits, tenant="other") is None


async def test_what_is_reserved_is_for_high_priority_only(store: JobStore) -> None:
    limits = Limits(of_all=10, reserve=0.2)
    await submitted(store, 8)
    assert await refused(store, limits) is Reason.FULL
    assert await refused(store, limits, priority=Priority.LOW) is Reason.FULL
    assert [await refused(store, limits, priority=Priority.HIGH) for _ in range(3)] == [None, None, Reason.FULL]


async def test_the_smallest_queue_still_lets_every_priority_in(store: JobStore) -> None:
    assert await refused(store, Limits(of_all=1, reserve=0.9)) is None


async def test_a_repeat_under_an_idempotency_key_is_never_refused(store: JobStore) -> None:
    job = new_job(idempotency=("key", "body"))
    await store.submit(job)
    full = Limits(of_tenant=1, of_all=1, age_s=0.001)
    again = await store.admit(new_job(idempotency=("key", "body")), limits=full)
    assert again == Submitted(job_id=job.id, created=False)
    assert (await store.room("default", idempotency_key="key", limits=full)).known
    assert not (await store.room("other", idempotency_key="key", limits=full)).known
    assert await store.admit(job, limits=full) == Submitted(job_id=job.id, created=True, waiting=1)  # sent again


async def test_jobs_count_while_they_are_queued_however_they_came_to_be(store: JobStore, redis: aioredis.Redis) -> None:
    async def waiting() -> tuple[int, int]:
        own = (await store.room("default", idempotency_key=None, limits=NO_LIMITS)).figures.waiting
        judged = [await store.room("x", idempotency_key=None, limits=Limits(of_all=most)) for most in range(1, 9)]
        return own, sum(one.refusals[Priority.HIGH] is Reason.FULL for one in judged)

    ids = await submitted(store, 6)
    await submitted(store, tenant="other")
    assert await waiting() == (6, 7)
    first, second, third = [await must_claim(store) for _ in range(3)]  # one of them is the other tenant's
    assert sum(await waiting()) == 4 + 4
    for job in (first, second, third):
        assert await store.put_back(job.fence, delay_ms=0 if job is first else 60_000)
    assert await waiting() == (6, 7)
    assert await store.promote() == (first.id,)
    assert await waiting() == (6, 7)
    await must_claim(store, "w2")
    await let_die(redis, "w2")
    assert len((await store.sweep()).rescued) == 1
    assert await waiting() == (6, 7)
    for job_id in ids[:3]:  # in line or put aside
        await store.cancel(job_id, tenant=None)
    assert await waiting() == (3, 4)
    await submitted(store, deadline_ms=0)
    assert await waiting() == (4, 5)
    await store.expire_due()
    assert await waiting() == (3, 4)


async def test_jobs_past_their_deadline_all_make_room_in_one_look_however_many(store: JobStore) -> None:
    await asyncio.gather(*(store.submit(new_job(deadline_ms=0)) for _ in range(450)))
    assert await upkeep.expire(store, log=get_logger("test", "upkeep")) == {"expired": 450}
    assert await refused(store, Limits(of_tenant=1)) is None


async def test_a_suspect_counts_as_waiting(store: JobStore, redis: aioredis.Redis) -> None:
    await submitted(store)
    for _ in range(2):
        await must_claim(store)
        await let_die(redis)
        await store.sweep()
    assert await store.ready_count([ReadyClass.SUSPECT]) == 1
    assert await refused(store, Limits(of_tenant=1)) is Reason.TENANT_FULL


async def test_a_line_whose_oldest_job_is_too_old_takes_no_more_of_its_class(
    store: JobStore, redis: aioredis.Redis
) -> None:
    limits = Limits(age_s=60)
    [old] = await submitted(store, tenant="slow")
    assert await refused(store, limits, tenant="slow") is None
    await redis.zincrby("aip:ready:normal:slow", -60_100, old)
    assert await refused(store, limits, tenant="slow") is Reason.TOO_SLOW
    assert await refused(store, limits, tenant="slow", priority=Priority.HIGH) is None
    assert await refused(store, limits, tenant="fast") is None
    assert old in {(await must_claim(store)).id for _ in range(3)}
    assert await refused(store, limits, tenant="slow") is None


async def test_a_new_line_is_too_slow_where_a_round_of_turns_takes_too_long(
    store: JobStore, redis: aioredis.Redis
) -> None:
    for number in range(30):
        await submitted(store, tenant=f"t{number}")
    assert await refused(store, Limits(age_s=0.001), tenant="new") is None  # nothing ended: nobody knows
    await store.complete((await must_claim(store)).fence, success(), nonce=nonce())
    # One job ended in a second or more; a round is about thirty, so thirty seconds at the least, if lines stand at all.
    assert await refused(store, Limits(age_s=25), tenant="between") is None
    for number in range(30):
        for job_id in members(await redis.zrange(f"aip:ready:normal:t{number}", 0, -1)):
            await redis.zincrby(f"aip:ready:normal:t{number}", -1_500, job_id)
    assert await refused(store, Limits(age_s=25), tenant="newer") is Reason.TOO_SLOW
    assert await refused(store, Limits(age_s=10_000), tenant="newest") is None


async def test_an_idle_service_takes_a_job_with_little_time(store: JobStore) -> None:
    await submitted(store)
    await store.complete((await must_claim(store)).fence, success(), nonce=nonce())
    # One job ended in the last five seconds since there was no other: that says nothing of how fast it could go.
    assert await refused_for(store, 500, Limits(age_s=3_600)) is None


async def test_a_refusal_tells_how_fast_the_queue_drains(store: JobStore) -> None:
    await submitted(store, 12, tenant="a")
    await submitted(store, 4, tenant="b")
    for _ in range(8):  # four of each
        await store.complete((await must_claim(store)).fence, success(), nonce=nonce())
    figures = (await store.room("a", idempotency_key=None, limits=NO_LIMITS)).figures
    assert figures.waiting == 8
    # The best of the slots of 5 s that it happened in, of which the last is not over.
    assert 4 / 5 <= figures.all_per_s <= 8
    assert 2 / 5 <= figures.own_per_s <= figures.all_per_s
    assert (await store.room("c", idempotency_key=None, limits=NO_LIMITS)).figures.own_per_s == 0


async def test_a_job_that_would_be_begun_too_late_is_not_let_in(store: JobStore, redis: aioredis.Redis) -> None:
    limits = Limits(age_s=3_600)
    ids = await submitted(store, 60)
    for _ in range(10):
        await store.complete((await must_claim(store)).fence, success(), nonce=nonce())
    # Fifty wait; ten ended within one to ten seconds.
    assert await refused_for(store, 2_000, limits) is None  # the line does not stand: nobody knows how fast it could be
    await redis.zincrby("aip:ready:normal:default", -1_500, ids[10])
    assert await refused_for(store, 2_000, limits) is Reason.TOO_SLOW
    assert await refused_for(store, 600_000, limits) is None
    assert await refused_for(store, 2_000, Limits(of_tenant=100)) is None  # no limit of time is set


async def refused_for(store: JobStore, deadline_ms: int, limits: Limits) -> Reason | None:
    done = await store.admit(new_job(deadline_ms=deadline_ms), limits=limits)
    return done.reason if isinstance(done, Refused) else None


async def test_room_is_judged_within_a_fraction_of_a_millisecond_in_a_long_queue(
    store: JobStore, redis: aioredis.Redis
) -> None:
    """By the server's own clock: what a caller measures here is what else the machine does."""
    for start in range(0, 1_000, 200):
        await asyncio.gather(*(store.submit(new_job(tenant=f"t{n % 50}")) for n in range(start, start + 200)))
    for number in range(100):
        await must_claim(store, f"w{number}")
    limits = Limits(of_tenant=50, of_all=800, reserve=0.1, age_s=3_600)
    await store.room("t1", idempotency_key=None, limits=limits)  # from now on the server knows both scripts
    await redis.config_resetstat()
    for _ in range(100):
        assert isinstance(await store.admit(new_job(tenant="t1"), limits=limits), Refused)
        assert (await store.room("t1", idempotency_key="k", limits=limits)).refusals[Priority.HIGH] is Reason.FULL
    stats = await redis.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 200
    assert stats["cmdstat_evalsha"]["usec_per_call"] < JUDGED_WITHIN_US
