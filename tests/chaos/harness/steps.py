"""Every script of the job store and of the gate as one step from a prepared database, each with fixed names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis.asyncio as aioredis

from infrastructure.core.config_core.sections import Breakers
from tests.support.gates import a_begin, an_end
from tests.support.jobs import new_job, success
from workers.jobs.gate.costs import Credits
from workers.jobs.gate.models import Limits
from workers.jobs.gate.redis_gate import RedisGate
from workers.jobs.models import COMPLETION_CLASSES, Fence
from workers.jobs.store.job_store import JobStore

OWNER, LEASE_S = "w1", 20
JOBS = tuple("job_" + "e" * 31 + str(number) for number in range(4))
SLOW = Limits(requests_per_minute=1)  # a request taken twice moves the account's allowance by a minute more


@dataclass(frozen=True)
class Side:
    """A store and a gate under one prefix, over one connection."""

    redis: aioredis.Redis
    prefix: str

    @property
    def store(self) -> JobStore:
        """Return the store."""
        return JobStore(self.redis, prefix=self.prefix, lease_s=LEASE_S)

    @property
    def gate(self) -> RedisGate:
        """Return the gate of OWNER."""
        return RedisGate(self.redis, prefix=self.prefix, owner=OWNER, breakers=Breakers)


Prepare = Callable[[Side], Awaitable[Any]]
Do = Callable[[Side, Any], Awaitable[Any]]


async def _nothing(_: Side) -> None:
    return None


async def _queued(side: Side) -> None:
    for job_id in JOBS:
        await side.store.submit(new_job(job_id=job_id, idempotency=(job_id, "body")))


async def _claimed(side: Side) -> Fence:
    await _queued(side)
    first = await side.store.claim(OWNER, nonce="n0", classes=COMPLETION_CLASSES)
    await side.store.claim(OWNER, nonce="n1", classes=COMPLETION_CLASSES)
    assert first is not None
    return first.fence


async def _stale(side: Side) -> Fence:
    fence = await _claimed(side)
    await side.store.cancel(fence.job_id, tenant=None)
    return fence


async def _aside(side: Side) -> None:
    fence = await _claimed(side)
    await side.store.put_back(fence, delay_ms=0)


async def _past_deadline(side: Side) -> None:
    await side.store.submit(new_job(job_id=JOBS[0], deadline_ms=0))
    await _begun(side)


async def _begun(side: Side) -> Any:
    asked = a_begin(attempt="attempt-1", limits=SLOW, upper_usd=1.0)
    return asked, await side.gate.begin(asked)


async def _dead(side: Side) -> None:
    await _claimed(side)
    await _begun(side)
    await side.redis.zadd(f"{side.prefix}:workers", {OWNER: 1}, xx=True)
    seconds, _ = await side.redis.time()
    mark: dict[Any, Any] = {"last": seconds * 1000, "since": seconds * 1000 - 3_600_000}
    await side.redis.hset(f"{side.prefix}:sweep", mapping=mark)


async def _credit(side: Side, _: Any) -> None:
    credits_ = Credits(side.redis, prefix=side.prefix)
    credits_.hit(tenant="red", provider="alpha", model="model-1", saved_usd=0.5)
    await credits_.close()


STEPS: Mapping[str, tuple[Prepare, Do]] = {
    "submit": (_nothing, lambda s, _: s.store.submit(new_job(job_id=JOBS[0], idempotency=("key", "body")))),
    "claim": (_queued, lambda s, _: s.store.claim(OWNER, nonce="n9", classes=COMPLETION_CLASSES)),
    "complete": (_claimed, lambda s, fence: s.store.complete(fence, success(), nonce="c1")),
    "complete, stale": (_stale, lambda s, fence: s.store.complete(fence, success(), nonce="c1")),
    "give_back": (_claimed, lambda s, fence: s.store.give_back(fence)),
    "put_back": (_claimed, lambda s, fence: s.store.put_back(fence, delay_ms=60_000)),
    "promote": (_aside, lambda s, _: s.store.promote()),
    "cancel": (_claimed, lambda s, fence: s.store.cancel(fence.job_id, tenant=None)),
    "renew": (_claimed, lambda s, _: s.store.renew(OWNER)),
    "retire": (_dead, lambda s, _: s.store.retire(OWNER)),
    "sweep": (_dead, lambda s, _: s.store.sweep()),
    "expire_due": (_past_deadline, lambda s, _: s.store.expire_due()),
    "page": (_claimed, lambda s, _: s.store.page("default", status=None, limit=3, after=None)),
    "ready_count": (_claimed, lambda s, _: s.store.ready_count(COMPLETION_CLASSES)),
    "waiting": (_claimed, lambda s, _: s.store.waiting(COMPLETION_CLASSES)),
    "owners": (_claimed, lambda s, _: s.store.owners()),
    "gate: begin": (_nothing, lambda s, _: _begun(s)),
    "gate: end": (_begun, lambda s, begun: s.gate.end(an_end(*begun))),
    "gate: end, apart": (_nothing, lambda s, _: _end_apart(s)),
    "gate: lose": (_begun, lambda s, _: s.gate.lose(["attempt-1"])),
    "gate: down": (_begun, lambda s, _: s.gate.down("alpha", "refused")),
    "gate: states": (_begun, lambda s, _: s.gate.states()),
    "gate: credit": (_nothing, _credit),
}
"""A script -> what is there before, and the step that runs it."""


async def _end_apart(side: Side) -> Any:
    other = Side(side.redis, f"{side.prefix}-elsewhere")
    asked = a_begin(attempt="attempt-1")
    admission = await other.gate.begin(asked)
    return await side.gate.end(an_end(asked, admission), apart=True)
