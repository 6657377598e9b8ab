"""The heartbeat on a real store: what a worker learns from each beat."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.logger_core import get_logger
from infrastructure.core.redis_core import connect
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually
from workers.jobs.codec import pack
from workers.jobs.ids import new_job_id
from workers.jobs.models import COMPLETION_CLASSES, Claimed, NewJob, Priority
from workers.jobs.store.job_store import JobStore
from workers.runtime import lease as lease_module
from workers.runtime.lease import Lease, listen, new_owner

pytestmark = pytest.mark.anyio
LOG = get_logger("ai-provider", "test")


class Worker:
    """Something that holds a lease and remembers what the lease told it."""

    def __init__(self, store: JobStore, *, lease_s: float = 15) -> None:
        self.owner = new_owner("test")
        self.store = store
        self.runs: set[str] = set()
        self.lost: list[str] = []
        self.strange: list[str] = []
        self.lease = Lease(
            store,
            owner=self.owner,
            heartbeat_s=0.05,
            lease_s=lease_s,
            running=lambda: frozenset(self.runs),
            lost=self.lost.append,
            strange=self.met,
            log=LOG,
        )

    async def met(self, nonce: str) -> None:
        self.strange.append(nonce)

    async def claim(self) -> Claimed:
        job = await self.store.claim(self.owner, nonce=secrets.token_hex(8), classes=COMPLETION_CLASSES)
        assert job is not None
        return job


async def submit(store: JobStore) -> str:
    job = NewJob(id=new_job_id(), tenant="t", kind="completion", model="m", request=pack({}), priority=Priority.NORMAL,
                 deadline_ms=60_000, metadata={}, config_version="")  # fmt: skip
    return (await store.submit(job)).job_id


async def test_a_job_that_was_cancelled_is_lost_at_the_next_beat(redis: Redis) -> None:
    store = JobStore(redis)
    worker = Worker(store)
    job_id = await submit(store)
    job = await worker.claim()
    worker.runs.add(job.fence.nonce)
    await worker.lease.beat()
    assert worker.lost == []

    await store.cancel(job_id, tenant=None)
    await worker.lease.beat()

    assert worker.lost == [job.fence.nonce]


async def test_a_claim_that_nobody_runs_is_a_stranger_after_its_time_and_no_sooner(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = JobStore(redis)
    worker = Worker(store)
    await submit(store)
    job = await worker.claim()
    now = 1_000.0
    monkeypatch.setattr(lease_module, "monotonic", lambda: now)

    await worker.lease.beat()
    now += lease_module.STRANGER_AFTER_S - 0.1
    await worker.lease.beat()
    assert worker.strange == []
    now += 0.2
    await worker.lease.beat()

    assert worker.strange == [job.fence.nonce]


async def test_a_lease_that_could_not_be_renewed_in_time_starts_no_new_call(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(JobStore(redis))
    now = 1_000.0
    monkeypatch.setattr(lease_module, "monotonic", lambda: now)
    assert not worker.lease.holds()

    await worker.lease.beat()
    now += 11.9
    assert worker.lease.holds()
    now += 0.2

    assert not worker.lease.holds()


@pytest.fixture
def restartable() -> Iterator[RedisServer]:
    server = RedisServer(appendonly=True).start()
    yield server
    server.remove()


async def test_the_heartbeat_goes_on_after_redis_was_away(restartable: RedisServer) -> None:
    redis = connect(restartable.url, max_connections=4)
    worker = Worker(JobStore(redis))
    keeping = asyncio.create_task(worker.lease.keep())
    try:
        await eventually(worker.lease.holds)
        restartable.kill()
        restartable.start()
        since = (await redis.time())[0] * 1000

        async def heard_again() -> bool:
            return (await redis.zscore("aip:workers", worker.owner) or 0) > since + 1000

        await eventually(heard_again)
    finally:
        assert await end_tasks([keeping])
        await redis.aclose()


async def test_a_channel_is_heard_again_after_redis_was_away(restartable: RedisServer) -> None:
    redis = connect(restartable.url, max_connections=4)
    heard: list[str] = []
    listening = asyncio.create_task(listen(redis, "channel", heard.append, log=LOG))

    async def told(text: str) -> bool:
        await redis.publish("channel", text)
        return text in heard

    try:
        await eventually(lambda: told("before"))
        restartable.kill()
        restartable.start()

        await eventually(lambda: told("after"))
    finally:
        assert await end_tasks([listening])
        await redis.aclose()
