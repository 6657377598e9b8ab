"""Jobs for tests, and an audit that reads all of a store's keys and says what does not fit together."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatch
from typing import Any

import orjson
import redis.asyncio as aioredis

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.redis_core import connect
from tests.support.job_lives import audit_claims, audit_dead, audit_history
from workers.jobs import codec, keys
from workers.jobs.ids import new_job_id
from workers.jobs.models import COMPLETION_CLASSES, Claimed, NewJob, Outcome, Priority, ReadyClass, Status
from workers.jobs.store import lua
from workers.jobs.store.job_store import JobStore

PREFIX = "aip"
ANSWER = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [{"message": {"content": "four"}}]}
_stamps = itertools.count(time.time_ns() // 1_000_000)


@asynccontextmanager
async def overheard(redis: aioredis.Redis, *channels: str) -> AsyncIterator[list[tuple[str, str]]]:
    """Collect (channel, message) while the block runs."""
    messages: list[tuple[str, str]] = []
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(*channels)
        for _ in channels:
            assert await pubsub.get_message(timeout=5) is not None

        async def listen() -> None:
            async for message in pubsub.listen():
                heard = message["channel"].decode(), message["data"].decode()
                messages.append(heard)

        task = asyncio.create_task(listen())
        yield messages
        await end_tasks([task])


@asynccontextmanager
async def shared_store(url: str, *, max_connections: int = 32) -> AsyncIterator[JobStore]:
    """Give a store for many tasks at once, over the connections that the service itself uses."""
    redis = connect(url, max_connections=max_connections)
    try:
        yield JobStore(redis, prefix=PREFIX)
    finally:
        await redis.aclose()


def new_job(
    *,
    tenant: str = "default",
    priority: Priority = Priority.NORMAL,
    deadline_ms: int = 3_600_000,
    idempotency: tuple[str, str] | None = None,
    request: object = None,
    job_id: str | None = None,
) -> NewJob:
    """Return a job to submit; ids rise from call to call, so that they also order jobs of one millisecond."""
    return NewJob(
        id=job_id or new_job_id(next(_stamps)),
        tenant=tenant,
        kind="completion",
        model="chat",
        request=codec.pack({"model": "chat", "params": {}} if request is None else request),
        priority=priority,
        deadline_ms=deadline_ms,
        metadata={"team": "red"},
        config_version="v1",
        idempotency=idempotency,
    )


async def submitted(store: JobStore, count: int = 1, **options: object) -> list[str]:
    """Submit some jobs one after the other and return their ids."""
    return [(await store.submit(new_job(**options))).job_id for _ in range(count)]  # type: ignore[arg-type]


async def claimed(
    store: JobStore, owner: str = "w1", *, classes: Sequence[ReadyClass] = COMPLETION_CLASSES
) -> Claimed | None:
    """Claim under a new nonce."""
    return await store.claim(owner, nonce=nonce(), classes=classes)


async def must_claim(
    store: JobStore, owner: str = "w1", *, classes: Sequence[ReadyClass] = COMPLETION_CLASSES
) -> Claimed:
    """Claim under a new nonce a job that has to be there."""
    job = await claimed(store, owner, classes=classes)
    assert job is not None
    return job


def nonce() -> str:
    """Return a new nonce."""
    return secrets.token_hex(8)


def success(*, cost_usd: float | None = 0.5) -> Outcome:
    """Return how a job ends well."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    return Outcome(status=Status.COMPLETED, result=codec.pack(ANSWER), usage=usage, cost_usd=cost_usd)


async def let_die(redis: aioredis.Redis, owner: str = "w1") -> None:
    """Make a worker silent since long ago, and the sweeps of the last hour unbroken: the next sweep rescues."""
    await redis.zadd("aip:workers", {owner: 1}, xx=True)
    await swept_for_long(redis)


async def swept_for_long(redis: aioredis.Redis) -> None:
    """Make the sweeps of the last hour unbroken."""
    seconds, micros = await redis.time()
    now_ms = seconds * 1000 + micros // 1000
    await redis.hset("aip:sweep", mapping={"last": now_ms, "since": now_ms - 3_600_000})


def members(values: Any) -> list[str]:
    """Return what Redis answered, as text."""
    return [value.decode() for value in values]


def audit(client: Any, prefix: str = PREFIX) -> list[str]:
    """Return every contradiction between a store's keys, read by a blocking client; a sound store has none."""
    names = sorted(members(client.scan_iter(f"{prefix}:*", count=1000)))
    jobs = {
        name.split(":")[2]: {field.decode(): value for field, value in client.hgetall(name).items()}
        for name in names
        if name.startswith(f"{prefix}:job:")
    }
    ready = {name: client.zrange(name, 0, -1) for name in names if name.startswith(f"{prefix}:ready:")}
    owners = {name: client.hgetall(name) for name in names if name.startswith(f"{prefix}:owner:")}
    deadlines = set(members(client.zrange(f"{prefix}:jobs:deadline", 0, -1)))
    delayed = f"{prefix}:jobs:delayed"
    ready |= {delayed: client.zrange(delayed, 0, -1)} if delayed in names else {}
    workers = set(client.zrange(f"{prefix}:workers", 0, -1))
    wrong: list[str] = []
    for job_id, job in jobs.items():
        wrong += _audit_job(client, prefix, job_id, job, ready=ready, owners=owners, in_deadlines=job_id in deadlines)
    for name in ready.keys() - {delayed}:
        _, _, ready_class, flow = name.split(":")
        if client.zscore(f"{prefix}:flows:{ready_class}", flow) is None:
            wrong.append(f"{name} is not among its class's flows")
    wrong += [f"{name} has jobs but no heartbeat" for name in owners if name.split(":")[2].encode() not in workers]
    placed = {member.decode() for members in ready.values() for member in members}
    held = {value.decode() for claims in owners.values() for value in claims.values()}
    wrong += [f"{job_id} has a place but is gone" for job_id in (placed | held | deadlines) - jobs.keys()]
    wrong += [found for job_id, job in jobs.items() for found in audit_history(job_id, job)]
    wrong += audit_dead(client, prefix, jobs) + audit_claims(client, prefix, jobs)
    wrong += audit_room(client, prefix, jobs) + audit_idempotency(client, prefix, jobs)
    return wrong + _audit_attempts(client, prefix, names) + without_expiry(client, names)


def audit_room(client: Any, prefix: str, jobs: dict[str, dict[str, bytes]]) -> list[str]:
    """Return where the room for new jobs is judged by other counts than those of the jobs that are queued."""
    queued = Counter(job["tenant"].decode() for job in jobs.values() if job["state"] == b"queued")
    room = client.register_script(lua.source("room"))

    def refusals(tenant: str, of_tenant: int, of_all: int) -> list[bytes]:
        found: list[bytes] = room(args=[prefix, 1_000, tenant, "", of_tenant, of_all, of_all, 0])
        return found[1:4]

    def judged(tenant: str, most: int) -> list[list[bytes]]:
        return [refusals(tenant, most, 0), refusals(tenant, most + 1, 0)]

    full, free, all_full = [b"tenant_queue_full"] * 3, [b""] * 3, [b"queue_full"] * 3
    wrong = [
        f"{tenant} has {count} jobs queued, and its room is judged by another count"
        for tenant, count in queued.items()
        if judged(tenant, count) != [full, free]
    ]
    total = queued.total()
    if total and [refusals("x", 0, total), refusals("x", 0, total + 1)] != [all_full, free]:
        wrong.append(f"{total} jobs are queued, and the room of all is judged by another count")
    return wrong


def audit_idempotency(client: Any, prefix: str, jobs: dict[str, dict[str, bytes]]) -> list[str]:
    """Return the jobs whose idempotency claim does not outlive them."""
    wrong = []
    for job_id, job in jobs.items():
        if "idem" not in job:
            continue
        name = f"{prefix}:idem:{job['tenant'].decode()}:{job['idem'].decode()}"
        live = job["state"] in {b"queued", b"in_progress"}
        ttl, its = client.pttl(name), client.get(name) or b""
        if not its.startswith(f"{job_id}:".encode()) or (ttl == -1) != live or not (live or ttl > 0):
            wrong.append(f"{job_id} is {job['state'].decode()}, its claim is {its!r} and lives for {ttl} ms")
    return wrong


def _audit_attempts(client: Any, prefix: str, names: Sequence[str]) -> list[str]:
    """Return where the calls in flight, counted by provider, model and worker, are not the attempts that are open."""
    expected: Counter[tuple[str, str]] = Counter()
    for name in names:
        if name.startswith(f"{prefix}:attempts:"):
            owner = name.removeprefix(f"{prefix}:attempts:")
            for record in map(orjson.loads, client.hvals(name)):
                expected[f"{prefix}:inflight:{record['p']}", owner] += 1
                expected[f"{prefix}:inflight:{record['p']}:{record['m']}", owner] += 1
    found = {
        (name, owner.decode()): int(count)
        for name in names
        if name.startswith(f"{prefix}:inflight:")
        for owner, count in client.hgetall(name).items()
    }
    return [
        f"{name} has {found.get((name, owner), 0)} calls of {owner}, with {expected[name, owner]} attempts open"
        for name, owner in sorted(expected.keys() | found.keys())
        if found.get((name, owner), 0) != expected[name, owner]
    ]


def _audit_job(
    client: Any,
    prefix: str,
    job_id: str,
    job: dict[str, bytes],
    *,
    ready: dict[str, list[bytes]],
    owners: dict[str, dict[bytes, bytes]],
    in_deadlines: bool,
) -> list[str]:
    state, raw = job["state"].decode(), job_id.encode()
    places = [name for name, members in ready.items() if raw in members]
    claims = [(name, claim) for name, held in owners.items() for claim, value in held.items() if value == raw]
    expected_places, expected_claims = [], []
    if state == "queued":
        expected_places = [f"{prefix}:ready:{job['class'].decode()}:{job['flow'].decode()}"]
        expected_places = [f"{prefix}:jobs:delayed"] if places == [f"{prefix}:jobs:delayed"] else expected_places
    if state == "in_progress":
        expected_claims = [(f"{prefix}:owner:{job['owner'].decode()}:jobs", job["cnonce"])]
    live = state in {"queued", "in_progress"}
    poisoned = job.get("error_code") == b"poisoned"
    found = {
        f"is {state} with places {places}": places == expected_places,
        f"is {state} with claims {claims}": claims == expected_claims,
        f"is {state}, in the list of deadlines: {in_deadlines}": in_deadlines == live,
        f"is {state} with a time to live": (client.pttl(f"{prefix}:job:{job_id}") == -1) == live,
        f"is {state}, request kept: {'req' in job}": ("req" in job) == (live or poisoned),
        f"is {state}, finished {job.get('finished')!r}": ("finished" in job) != live,
        f"is {state} with {job.get('deliveries')!r} deliveries": int(job.get("deliveries", 0)) >= 0,
    }
    return [f"{job_id} {what}" for what, fine in found.items() if not fine]


def without_expiry(client: Any, names: Sequence[str]) -> list[str]:
    """Return the keys without an expiry that the key map does not list as such."""
    bare = [name.split(":", 1)[1] for name in names if client.pttl(name) == -1]
    return [
        f"{name} has no expiry" for name in bare if not any(fnmatch(name, pattern) for pattern in keys.WITHOUT_EXPIRY)
    ]
