"""A full Redis: a submit fails whole, and everything that ends a job passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis as sync_redis
import redis.asyncio as aioredis

from infrastructure.core.error_core import StoreFull
from tests.support.jobs import audit, let_die, members, must_claim, new_job, nonce, submitted, success
from workers.jobs.models import COMPLETION_CLASSES, Status
from workers.jobs.room import NO_LIMITS
from workers.jobs.store.headroom import Headroom
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(redis: aioredis.Redis) -> JobStore:
    return JobStore(redis)


@asynccontextmanager
async def memory_limit(redis: aioredis.Redis, limit_bytes: int) -> AsyncIterator[None]:
    """Limit the server's memory while the block runs."""
    await redis.config_set("maxmemory", limit_bytes)
    try:
        yield
    finally:
        await redis.config_set("maxmemory", 0)


async def contents(redis: aioredis.Redis) -> dict[str, bytes | None]:
    return {name: await redis.dump(name) for name in members(await redis.keys("*"))}


async def test_a_script_refuses_a_submit_whole_when_memory_is_out(store: JobStore, redis: aioredis.Redis) -> None:
    await submitted(
        store, idempotency=("first", "body")
    )  # looked at the memory just now: the script itself has to refuse
    before = await contents(redis)
    async with memory_limit(redis, 1):
        with pytest.raises(StoreFull):
            await store._run("submit", *_submit_arguments())
        assert await contents(redis) == before
    assert await store._run("submit", *_submit_arguments())


def _submit_arguments() -> tuple[str | bytes | int, ...]:
    job = new_job()
    return (
        job.id,
        "default",
        "normal",
        "default",
        60_000,
        "0123",
        "body",
        *NO_LIMITS.arguments(),
        "kind",
        "completion",
        "req",
        job.request,
    )


async def test_submits_stop_before_memory_is_out_and_go_on_when_there_is_room(redis: aioredis.Redis) -> None:
    now_s = 0.0
    store = JobStore(redis)
    store._headroom = Headroom(redis, clock=lambda: now_s)
    used = (await redis.info("memory"))["used_memory"]
    await submitted(store)
    async with memory_limit(redis, int(used / 0.9)):
        await submitted(store)  # the last look is fresh
        now_s += 1.5
        before = await redis.dbsize()
        for _ in range(2):
            with pytest.raises(StoreFull):
                await submitted(store)
        assert await redis.dbsize() == before
    now_s += 1.5
    await submitted(store)


async def test_a_redis_with_room_or_without_a_limit_is_not_full(store: JobStore, redis: aioredis.Redis) -> None:
    await submitted(store)
    async with memory_limit(redis, 1_000_000_000):
        await submitted(JobStore(redis))


async def test_everything_that_ends_or_keeps_a_job_passes_when_memory_is_out(
    store: JobStore, redis: aioredis.Redis, redis_url: str
) -> None:
    ids = await submitted(store, 8)
    await submitted(store, deadline_ms=0)
    jobs = [await must_claim(store) for _ in range(4)]
    stale = await must_claim(store, "w3")
    await store.cancel(stale.id, tenant=None)
    async with memory_limit(redis, 1):
        assert await store.complete(jobs[0].fence, success(), nonce=nonce())
        assert not await store.complete(stale.fence, success(cost_usd=0.5), nonce=nonce())
        assert await store.cancel(jobs[1].id, tenant="default")
        assert await store.give_back(jobs[2].fence)
        assert len(await store.renew("w1")) == 1
        assert len(await store.expire_due()) == 1
        claimed = await must_claim(store, "w2")
        await store.retire("w2")
        assert (await store.sweep()).rescued == ()
        assert (await store.page("default", status=None, limit=20, after=None)).jobs
        assert await store.ready_count(COMPLETION_CLASSES) == 4
    finished = await store.get(jobs[0].id, tenant="default")
    assert finished is not None
    assert finished.status is Status.COMPLETED
    assert claimed.id == jobs[2].id
    assert jobs[3].id in ids
    assert (await store.counters())["late_cost_usd"] == 0.5
    with sync_redis.Redis.from_url(redis_url) as client:
        assert audit(client) == []


async def test_rescue_passes_when_memory_is_out(store: JobStore, redis: aioredis.Redis) -> None:
    [job_id] = await submitted(store)
    await must_claim(store)
    await let_die(redis)
    async with memory_limit(redis, 1):
        assert (await store.sweep()).rescued == (job_id,)
