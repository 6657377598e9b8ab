"""A job's events over HTTP: nothing lost or doubled over any reconnection, no polling, nobody held up."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import redis.asyncio as aioredis

from infrastructure.core.redis_core import connect
from tests.support.events import Reader, reading
from tests.support.front_door import FrontDoorProcess
from tests.support.jobs import claimed, let_die, members, must_claim, new_job, nonce, submitted, success
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually, wait_for
from workers.jobs.codec import pack
from workers.jobs.models import Fence, Outcome, Status
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio
LIFE = ["job.queued", "job.in_progress", "job.put_back", "job.in_progress", "job.rescued", "job.in_progress", "job.completed"]  # fmt: skip
UNKNOWN = "job_" + "0" * 32


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer(appendonly=True).start()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def front(server: RedisServer) -> Iterator[FrontDoorProcess]:
    front = FrontDoorProcess(
        server.url, AI_PROVIDER_LIMITS_STREAMS="400", AI_PROVIDER_LIMITS_TENANT_STREAMS="300"
    ).start()
    wait_for(lambda: front.answers("/health/ready"), within_s=30)
    yield front
    front.remove()


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[aioredis.Redis]:
    redis = connect(server.url, max_connections=16)
    await redis.flushall()
    yield redis
    await redis.aclose()


@pytest.fixture
def store(redis: aioredis.Redis) -> JobStore:
    return JobStore(redis, lease_s=0.3)


@pytest.fixture
async def client(front: FrontDoorProcess) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=front.url, timeout=30, limits=limits, trust_env=False) as client:
        yield client


async def live_to(store: JobStore, redis: aioredis.Redis, job_id: str, steps: int) -> None:
    """Lead a job that waits through the steps of LIFE, up to so many."""
    found = await store.history(job_id, tenant="default")
    assert found is not None
    for step in range(len(found[1]), steps):
        fence = await held(store, redis)
        match LIFE[step]:
            case "job.in_progress":
                await store.promote()
                await must_claim(store)
            case "job.put_back":
                assert fence
                await store.put_back(fence, delay_ms=0)
            case "job.rescued":
                await let_die(redis)
                await store.sweep()
            case "job.completed":
                assert fence
                await store.complete(fence, success(), nonce=nonce())


async def held(store: JobStore, redis: aioredis.Redis) -> Fence | None:
    """Return the fence of what the worker has, as a claim sent again brings it."""
    claims = members(await redis.hkeys("aip:owner:w1:jobs"))
    again = await store.claim("w1", nonce=claims[0], classes=()) if claims else None
    return again.fence if again else None


async def watched(redis: aioredis.Redis, job_id: str) -> int:
    """Return how many front doors hear a job's own channel."""
    return int((await redis.pubsub_numsub(f"aip:moved:{job_id}"))[0][1])


async def test_a_stream_tells_a_whole_life_as_it_goes_and_ends_with_the_job(
    client: httpx.AsyncClient, store: JobStore, redis: aioredis.Redis
) -> None:
    [job_id] = await submitted(store)
    async with reading(client, job_id) as reader:
        for step in range(1, len(LIFE) + 1):
            await live_to(store, redis, job_id, step)
            await reader.until(LIFE[step - 1], count=LIFE[:step].count(LIFE[step - 1]))
        await reader.until_end()
    assert reader.names == LIFE
    assert reader.ids == list(range(1, len(LIFE) + 1))
    assert reader.headers["content-type"].startswith("text/event-stream")
    assert (reader.headers["cache-control"], reader.headers["x-accel-buffering"]) == ("no-store", "no")
    assert reader.retry_ms is not None
    assert [event.data["delivery"] for event in reader.events] == [0, 1, 1, 1, 1, 2, 2]
    assert [event.data["status"] for event in reader.events] == [
        "queued", "in_progress", "queued", "in_progress", "queued", "in_progress", "completed",
    ]  # fmt: skip
    assert [index for index, event in enumerate(reader.events) if "until" in event.data] == [2]
    assert reader.events[-1].data["job"] == (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert all("job" not in event.data for event in reader.events[:-1])
    await eventually(lambda: watched_nobody(redis, job_id))


async def watched_nobody(redis: aioredis.Redis, job_id: str) -> bool:
    return await watched(redis, job_id) == 0


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED, Status.EXPIRED])
async def test_each_other_end_is_told_too(
    client: httpx.AsyncClient, store: JobStore, redis: aioredis.Redis, status: Status
) -> None:
    [job_id] = await submitted(store)
    async with reading(client, job_id) as reader:
        await reader.until("job.queued")
        if status is Status.FAILED:
            outcome = Outcome(status=Status.FAILED, error=("bad_answer", "no"))
            await store.complete((await must_claim(store)).fence, outcome, nonce=nonce())
        elif status is Status.CANCELLED:
            await store.cancel(job_id, tenant="default")
        else:
            await redis.zadd("aip:jobs:deadline", {job_id: 1})
            await store.expire_due()
        await reader.until_end()
    assert (reader.names[-1], reader.events[-1].data["job"]["status"]) == (f"job.{status}", status)


async def test_from_every_event_on_exactly_the_rest_is_told(
    client: httpx.AsyncClient, store: JobStore, redis: aioredis.Redis
) -> None:
    [job_id] = await submitted(store)
    await live_to(store, redis, job_id, len(LIFE))
    for after in range(len(LIFE)):
        async with reading(client, job_id, after=after) as reader:
            await reader.until_end()
        assert reader.names == LIFE[after:]
    async with reading(client, job_id, after=len(LIFE)) as reader:
        assert (reader.status, reader.body) == (204, b"")  # at which a browser stops connecting again
    async with reading(client, job_id, after=99) as reader:  # told of what Redis has lost since: another history
        await reader.until_end()
    assert reader.names == LIFE


async def test_over_kills_of_the_front_door_and_of_redis_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    server = RedisServer(appendonly=True).start()
    front = FrontDoorProcess(server.url).start()
    redis = connect(server.url, max_connections=4)
    store = JobStore(redis, lease_s=0.3)
    told: list[int | None] = []
    try:
        [job_id] = await submitted(store)
        async with httpx.AsyncClient(base_url=front.url, timeout=30, trust_env=False) as client:
            async with reading(client, job_id) as reader:
                await reader.until("job.queued")
                await live_to(store, redis, job_id, 3)
                await reader.until("job.put_back")
                front.stop(signal.SIGKILL)
                await eventually(lambda: reader.broken)
                told += reader.ids
            await live_to(store, redis, job_id, 4)  # while nobody hears it
            await asyncio.to_thread(front.start)
            async with reading(client, job_id, after=told[-1]) as reader:
                await reader.until("job.in_progress")
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                await live_to(store, redis, job_id, 6)  # on the same connection: the stream outlives Redis
                await reader.until("job.in_progress", count=2)
                await live_to(store, redis, job_id, len(LIFE))
                await reader.until_end()
                told += reader.ids
        assert told == list(range(1, len(LIFE) + 1))
    finally:
        await redis.aclose()
        front.remove()
        server.remove()


async def test_listeners_read_only_when_something_happened(
    client: httpx.AsyncClient, store: JobStore, redis: aioredis.Redis
) -> None:
    [job_id] = await submitted(store)
    other = (await submitted(store))[0]

    async def hmgets() -> int:
        return int((await redis.info("commandstats")).get("cmdstat_hmget", {}).get("calls", 0))

    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(reading(client, job_id)) for _ in range(50)]
        for reader in readers:
            await reader.until("job.queued")
        assert await watched(redis, job_id) == 1  # one subscription of the process, however many read
        await redis.config_resetstat()
        await asyncio.sleep(0.6)
        assert await hmgets() == 0
        assert (await must_claim(store)).id == job_id
        for reader in readers:
            await reader.until("job.in_progress")
        read = await hmgets()
        assert 50 <= read <= 60
        assert (await must_claim(store)).id == other
        await asyncio.sleep(0.3)
        assert await hmgets() <= read + 5


async def test_another_tenant_s_events_are_not_there(client: httpx.AsyncClient, store: JobStore) -> None:
    # Without any key every caller is the tenant default.
    [job_id] = await submitted(store, tenant="acme")
    for path in (job_id, UNKNOWN, "job_1"):
        response = await client.get(f"/api/v1/jobs/{path}/events")
        assert (response.status_code, response.json()["code"]) == (404, "job_not_found")
        assert response.json()["detail"] == (await client.get(f"/api/v1/jobs/{UNKNOWN}")).json()["detail"]


async def test_what_is_asked_for_wrongly_is_told(
    client: httpx.AsyncClient, store: JobStore, redis: aioredis.Redis
) -> None:
    [job_id] = await submitted(store)
    place = f"/api/v1/jobs/{job_id}/events"
    refused = await client.get(place, headers={"Accept": "application/json, text/event-stream;q=0"})
    assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")
    for number in ("x", "-1", "1.5", "9" * 16):
        bad = await client.get(place, headers={"Last-Event-ID": number})
        assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "Last-Event-ID")
    head = await client.head(place)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    assert (await client.head(f"/api/v1/jobs/{UNKNOWN}/events")).status_code == 404
    assert (await client.post(place)).status_code == 405
    async with reading(client, job_id, accept="text/event-stream", last_event_id="") as reader:
        await reader.until("job.queued")


async def test_a_tenant_has_so_many_streams_and_a_place_comes_free_at_once(
    client: httpx.AsyncClient, store: JobStore, redis: aioredis.Redis, front: FrontDoorProcess
) -> None:
    [job_id] = await submitted(store)
    place = f"/api/v1/jobs/{job_id}/events"

    async def open_stream() -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(f"GET {place} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert await asyncio.wait_for(reader.readline(), 30) == b"HTTP/1.1 200 OK\r\n"
        return writer

    writers = [await open_stream() for _ in range(300)]
    try:
        refused = await client.get(place)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await client.get(f"/api/v1/jobs/{job_id}")).status_code == 200  # nobody else is held up
    finally:
        for writer in writers:
            writer.transport.abort()
    await eventually(lambda: watched_nobody(redis, job_id), within_s=30, what="those who are gone are forgotten")
    async with reading(client, job_id) as reader:
        await reader.until("job.queued")


async def test_readers_that_come_and_go_leave_nothing_behind(
    store: JobStore, redis: aioredis.Redis, front: FrontDoorProcess
) -> None:
    ids = await submitted(store, 200)
    assert front.process is not None

    def files() -> int:
        assert front.process is not None
        return len(list(Path(f"/proc/{front.process.pid}/fd").iterdir()))

    async def watched_now(count: int) -> bool:
        return len(await redis.pubsub_channels("aip:moved:*")) == count

    async def round_of_readers() -> None:
        limits = httpx.Limits(max_connections=None)
        async with (
            httpx.AsyncClient(base_url=front.url, timeout=30, limits=limits, trust_env=False) as client,
            AsyncExitStack() as stack,
        ):
            readers = await asyncio.gather(*(stack.enter_async_context(reading(client, job_id)) for job_id in ids))
            await asyncio.gather(*(reader.until("job.queued") for reader in readers))
            await eventually(lambda: watched_now(200), within_s=30)
        await eventually(lambda: watched_now(0), within_s=30)

    await round_of_readers()  # after which it holds all connections to Redis that it may
    before = files()
    for _ in range(2):
        await round_of_readers()
    await eventually(lambda: files() <= before, within_s=30, what="connections are closed")


async def test_a_reader_that_takes_nothing_holds_up_nobody(
    client: httpx.AsyncClient, store: JobStore, redis: aioredis.Redis, front: FrontDoorProcess
) -> None:
    big = Outcome(status=Status.COMPLETED, result=pack({"text": os.urandom(8_000_000).hex()}))
    await store.submit(new_job())
    claim = await must_claim(store)
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stuck.connect(("127.0.0.1", front.port))
        stuck.sendall(f"GET /api/v1/jobs/{claim.id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        async with reading(client, claim.id) as reader:
            await eventually(lambda: watched_by_one(redis, claim.id))
            await store.complete(claim.fence, big, nonce=nonce())
            await reader.until_end()
        for job_id in await submitted(store, 3):
            started = time.monotonic()
            async with reading(client, job_id) as reader:
                await reader.until("job.queued")
                again = await must_claim(store)
                await store.complete(again.fence, success(), nonce=nonce())
                await reader.until_end()
            assert time.monotonic() - started < 2


async def watched_by_one(redis: aioredis.Redis, job_id: str) -> bool:
    return await watched(redis, job_id) == 1


async def test_a_front_door_that_stops_ends_its_streams_in_order_and_at_once(server: RedisServer) -> None:
    front = FrontDoorProcess(server.url).start()
    wait_for(lambda: front.answers("/health/ready"), within_s=30)
    redis = connect(server.url, max_connections=4)
    await redis.flushall()
    store = JobStore(redis)
    limits = httpx.Limits(max_connections=None)
    try:
        [job_id] = await submitted(store)
        async with (
            httpx.AsyncClient(base_url=front.url, timeout=30, limits=limits, trust_env=False) as client,
            AsyncExitStack() as stack,
        ):
            readers: list[Reader] = [await stack.enter_async_context(reading(client, job_id)) for _ in range(100)]
            for reader in readers:
                await reader.until("job.queued")
            started = time.monotonic()
            assert await asyncio.to_thread(front.stop, signal.SIGTERM) == 0
            took_s = time.monotonic() - started
            await eventually(lambda: all(reader.ended for reader in readers))
            assert not any(reader.broken for reader in readers)
        assert took_s < 3
        assert front.stderr() == ""
        assert await claimed(store) is not None
    finally:
        await redis.aclose()
        front.remove()


async def test_a_stream_has_a_longest_time_and_goes_on_in_the_next(server: RedisServer) -> None:
    front = FrontDoorProcess(server.url, AI_PROVIDER_LIMITS_STREAM_S="0.5", AI_PROVIDER_LIMITS_STREAMS="1").start()
    redis = connect(server.url, max_connections=4)
    store = JobStore(redis)
    try:
        await redis.flushall()
        [job_id] = await submitted(store)
        async with httpx.AsyncClient(base_url=front.url, timeout=30, trust_env=False) as client:
            async with reading(client, job_id) as reader:
                await reader.until("job.queued")
                full = await client.get(f"/api/v1/jobs/{job_id}/events")
                assert (full.status_code, full.json()["code"]) == (503, "streams_full")
                await reader.until_end()
            await must_claim(store)
            async with reading(client, job_id, after=reader.ids[-1]) as reader:
                await reader.until("job.in_progress")
                await reader.until_end()
            assert reader.names == ["job.in_progress"]
    finally:
        await redis.aclose()
        front.remove()
