"""Waiting for jobs on a real subscription, over losses of the connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from api.waiting import Waiters
from infrastructure.core.logger_core import get_logger
from infrastructure.core.redis_core import connect
from tests.support.machine import in_time
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually
from workers.jobs.models import Job, Status

pytestmark = pytest.mark.anyio


@dataclass
class Shelf:
    """A place where jobs are read, and how often they were."""

    status: Status = Status.QUEUED
    reads: int = 0
    job_id: str = "job_" + "0" * 32

    async def read(self) -> Job | None:
        self.reads += 1
        return Job(id=self.job_id, tenant="a", kind="completion", status=self.status, model="m", created_ms=0)


async def listening(client: Redis) -> Waiters:
    waiters = Waiters(client, prefix="aip", log=get_logger("test", "waiting"))
    waiters.start()
    await eventually(lambda: waiters.listening)
    return waiters


@pytest.fixture
async def waiters(redis: Redis) -> AsyncIterator[Waiters]:
    waiters = await listening(redis)
    yield waiters
    await waiters.stop()


async def test_an_end_wakes_its_waiter_and_nobody_else(waiters: Waiters, redis: Redis) -> None:
    mine, other = Shelf(), Shelf(job_id="job_" + "1" * 32)
    waits = [asyncio.create_task(waiters.until_done(shelf.job_id, shelf.read, timeout_s=20)) for shelf in (mine, other)]
    await eventually(lambda: mine.reads == other.reads == 1)
    mine.status = Status.COMPLETED
    await redis.publish("aip:done", mine.job_id)
    job = await asyncio.wait_for(waits[0], 15)
    assert job is not None
    assert job.status is Status.COMPLETED
    assert (mine.reads, other.reads, len(waiters)) == (2, 1, 1)
    waits[1].cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    assert len(waiters) == 0


async def test_a_job_that_has_ended_is_not_waited_for(waiters: Waiters) -> None:
    shelf = Shelf(status=Status.FAILED)
    started = time.monotonic()
    await waiters.until_done(shelf.job_id, shelf.read, timeout_s=20)
    assert in_time(time.monotonic() - started, 1)
    assert shelf.reads == 1


async def test_when_the_time_is_up_the_job_is_read_once_more(waiters: Waiters) -> None:
    shelf = Shelf()
    job = await waiters.until_done(shelf.job_id, shelf.read, timeout_s=0.05)
    assert job is not None
    assert (job.status, shelf.reads, len(waiters)) == (Status.QUEUED, 2, 0)


async def test_a_wait_reads_twice_however_long_it_is(waiters: Waiters) -> None:
    shelf = Shelf()
    await waiters.until_done(shelf.job_id, shelf.read, timeout_s=0.6)
    assert shelf.reads == 2


async def test_an_end_between_the_read_and_the_wait_is_not_missed(waiters: Waiters, redis: Redis) -> None:
    shelf = Shelf()

    async def read_slowly() -> Job | None:
        job = await shelf.read()
        if shelf.reads == 1:  # the end comes while the old state is on its way here
            shelf.status = Status.COMPLETED
            await redis.publish("aip:done", shelf.job_id)
            await redis.ping()
        return job

    job = await asyncio.wait_for(waiters.until_done(shelf.job_id, read_slowly, timeout_s=20), 15)
    assert job is not None
    assert job.status is Status.COMPLETED


async def test_releasing_sends_everybody_home_with_the_job_as_it_is(waiters: Waiters) -> None:
    shelf = Shelf()
    waiting = asyncio.create_task(waiters.until_done(shelf.job_id, shelf.read, timeout_s=20))
    await eventually(lambda: shelf.reads == 1)
    waiters.release()
    job = await asyncio.wait_for(waiting, 15)
    assert job is not None
    assert job.status is Status.QUEUED


async def test_four_thousand_wait_for_one_end_at_little_cost(waiters: Waiters, redis: Redis) -> None:
    shelf = Shelf()
    cpu = time.process_time()
    waits = [asyncio.create_task(waiters.until_done(shelf.job_id, shelf.read, timeout_s=30)) for _ in range(4_000)]
    await eventually(lambda: shelf.reads == 4_000)
    shelf.status = Status.COMPLETED
    await redis.publish("aip:done", shelf.job_id)
    await asyncio.gather(*waits)
    assert time.process_time() - cpu < 2
    assert len(await redis.pubsub_numsub("aip:done")) == 1
    assert (await redis.pubsub_numsub("aip:done"))[0][1] == 1


async def test_after_a_restart_of_redis_everybody_reads_again() -> None:
    server = RedisServer().start()
    client = connect(server.url, max_connections=4, socket_timeout_s=2)
    waiters = await listening(client)
    try:
        shelf = Shelf()
        waiting = asyncio.create_task(waiters.until_done(shelf.job_id, shelf.read, timeout_s=30))
        await eventually(lambda: shelf.reads == 1)
        await asyncio.to_thread(server.kill)
        await eventually(lambda: not waiters.listening)
        shelf.status = Status.COMPLETED  # and its message is never heard
        await asyncio.to_thread(server.start)
        job = await asyncio.wait_for(waiting, 15)
        assert job is not None
        assert job.status is Status.COMPLETED
        await eventually(lambda: waiters.listening)
    finally:
        await waiters.stop()
        await client.aclose()
        server.remove()


async def test_redis_may_come_after_the_waiters() -> None:
    server = RedisServer()
    client = connect(server.url, max_connections=4, socket_timeout_s=2)
    waiters = Waiters(client, prefix="aip", log=get_logger("test", "waiting"))
    waiters.start()
    try:
        assert not waiters.listening
        await asyncio.to_thread(server.start)
        await eventually(lambda: waiters.listening)
    finally:
        await waiters.stop()
        await client.aclose()
        server.remove()
