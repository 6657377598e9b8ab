"""The job store against what servers do: late answers, restarts, many processes, and keys that must not stay for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest
import redis as sync_redis
import redis.asyncio as aioredis

from infrastructure.core.error_core import StoreUnavailable
from infrastructure.core.redis_core import connect
from tests.support.jobs import audit, claimed, let_die, must_claim, new_job, nonce, shared_store, submitted, success
from tests.support.redis_server import RedisServer
from workers.jobs.models import COMPLETION_CLASSES, Priority, ReadyClass, Status
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio

STALL_S = 0.3
TIMEOUT_S = 0.2


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    server = RedisServer(appendonly=True).start()
    yield server
    server.remove()


@pytest.fixture
async def impatient(own_server: RedisServer) -> AsyncIterator[aioredis.Redis]:
    """Give a client that sends again when an answer is late by TIMEOUT_S."""
    redis = connect(own_server.url, max_connections=2, socket_timeout_s=TIMEOUT_S)
    yield redis
    await redis.aclose()


def scripts_run(server: RedisServer) -> int:
    with sync_redis.Redis.from_url(server.url) as client:
        return int(client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))


async def test_scripts_sent_again_because_the_answer_was_late_change_nothing_twice(
    own_server: RedisServer, impatient: aioredis.Redis
) -> None:
    store = JobStore(impatient)
    await submitted(store, 2)  # and the scripts are loaded
    await store.complete((await must_claim(store)).fence, success(), nonce=nonce())
    job = new_job(idempotency=("key", "body"))

    async def through_a_stall(step: object) -> object:
        runs = scripts_run(own_server)
        own_server.freeze()
        asyncio.get_running_loop().call_later(STALL_S, own_server.thaw)
        answer = await step  # type: ignore[misc]
        assert scripts_run(own_server) == runs + 2
        return answer

    submit = await through_a_stall(store.submit(job))
    claim = await through_a_stall(store.claim("w1", nonce="n1", classes=COMPLETION_CLASSES))
    assert submit.created  # type: ignore[attr-defined]
    assert claim.deliveries == 1  # type: ignore[attr-defined]
    assert list(await store.renew("w1")) == ["n1"]
    assert await through_a_stall(store.complete(claim.fence, success(), nonce="c1"))  # type: ignore[attr-defined]
    assert (await must_claim(store)).id == job.id
    assert await claimed(store) is None
    with sync_redis.Redis.from_url(own_server.url) as client:
        assert audit(client) == []


async def test_a_restarted_server_has_every_job_and_gets_its_scripts_again(
    own_server: RedisServer, impatient: aioredis.Redis
) -> None:
    store = JobStore(impatient)
    first, second = await submitted(store, 2)
    job = await must_claim(store)
    own_server.kill()
    with pytest.raises(StoreUnavailable):
        await store.ready_count(COMPLETION_CLASSES)
    own_server.start()
    assert await store.complete(job.fence, success(), nonce=nonce())
    assert (job.id, (await must_claim(store)).id) == (first, second)


async def test_scripts_that_the_server_has_forgotten_are_loaded_again(redis: aioredis.Redis) -> None:
    store = JobStore(redis)
    await submitted(store)
    await redis.script_flush()
    await must_claim(store)
    await submitted(store)


async def test_every_key_after_a_mixed_run_has_an_expiry_or_is_in_the_key_map(
    redis: aioredis.Redis, redis_url: str
) -> None:
    store = JobStore(redis, lease_s=1, max_deaths=1)
    await mixed_run(store, redis)
    with sync_redis.Redis.from_url(redis_url) as client:
        assert audit(client) == []
        await redis.set("aip:surprise", 1)  # the audit can fail
        assert audit(client) == ["surprise has no expiry"]
        names = {name.decode().split(":")[1] for name in client.keys("aip:*")}
    assert names >= {"job", "idem", "tenant", "ready", "flows", "turns", "jobs", "workers", "owner", "sweep", "dead",
                     "late", "counters"}  # fmt: skip


async def mixed_run(store: JobStore, redis: aioredis.Redis) -> None:
    """Bring a store to have a key of every kind."""
    for priority in Priority:
        for tenant in ("a", "b"):
            await submitted(store, 6, tenant=tenant, priority=priority)
    await submitted(store, idempotency=("key", "body"))
    await submitted(store, idempotency=("other", "body"))
    await submitted(store, deadline_ms=0)
    await store.expire_due()
    jobs = [await must_claim(store, owner) for owner in ("w1", "w2", "w3") for _ in range(4)]
    await store.complete(jobs[0].fence, success(), nonce=nonce())
    await store.complete(jobs[0].fence, success(), nonce=nonce())
    await store.cancel(jobs[1].id, tenant=None)
    await store.give_back(jobs[2].fence)
    await store.retire("w3")
    for classes in (COMPLETION_CLASSES, (ReadyClass.SUSPECT,), (ReadyClass.SUSPECT,)):
        await must_claim(store, "w1", classes=classes)
        await let_die(redis)
        await store.sweep()
    gone = await must_claim(store, "w2")
    await redis.delete(f"aip:job:{gone.id}")
    await store.complete(gone.fence, success(), nonce=nonce())
    await store.expire_due()
    await redis.zrem("aip:jobs:deadline", gone.id)
    await redis.hdel("aip:owner:w2:jobs", gone.fence.nonce)


async def test_many_tasks_at_once_leave_every_job_with_one_end(redis_url: str) -> None:
    """Submitters, workers that complete, cancel or give back, at the same time over a few connections."""
    dice = random.Random(7)
    async with shared_store(redis_url, max_connections=16) as store:
        ids: list[str] = []
        ends: list[str] = []

        async def submit(tenant: str) -> None:
            for _ in range(40):
                ids.extend(await submitted(store, tenant=tenant, priority=dice.choice(list(Priority))))

        async def work(owner: str) -> None:
            while len(ends) < 160:
                job = await claimed(store, owner)
                if job is None:
                    await asyncio.sleep(0.001)
                elif dice.random() < 0.2:
                    assert await store.give_back(job.fence)
                elif dice.random() < 0.2:
                    assert await store.cancel(job.id, tenant=None)
                    ends.append(job.id)
                else:
                    assert await store.complete(job.fence, success(), nonce=nonce())
                    ends.append(job.id)

        await asyncio.wait_for(
            asyncio.gather(*(submit(f"t{n}") for n in range(4)), *(work(f"w{n}") for n in range(12))), 30
        )
        assert sorted(ends) == sorted(ids)
        states = [(await store.get(job_id, tenant=f"t{n}")) for n in range(4) for job_id in ids]
        assert {job.status for job in states if job} == {Status.COMPLETED, Status.CANCELLED}
    with sync_redis.Redis.from_url(redis_url) as client:
        assert audit(client) == []
