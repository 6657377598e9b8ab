"""The job store: every job's truth, in Redis, written by Lua scripts that each do one step of its life whole.

`workers.jobs.keys` has the key map. Each method raises StoreUnavailable and StoreFull; only `submit` meets StoreFull when
Redis has reached its memory limit: every other write begins with a delete and passes. redis-py sends a command again when
its answer is late, so each script can be run twice: a job's id, a claim's nonce, a completion's nonce tell the second run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.error_core import StoreUnavailable
from infrastructure.core.redis_core import store_errors
from workers.jobs import ids, keys
from workers.jobs.models import (
    Attempt,
    Claimed,
    Fence,
    Happened,
    Job,
    NewJob,
    Outcome,
    Page,
    Put,
    ReadyClass,
    Slot,
    Status,
    Submitted,
    Swept,
    Waiting,
)
from workers.jobs.room import NO_LIMITS, Limits, Refused, Room
from workers.jobs.store import history, lua, reading, writing
from workers.jobs.store.headroom import Headroom

CLEARED_IN_ONE_GO = 100
"""Entries that one run of `claim.lua` may clear away: expired jobs, flows without jobs. About 1 ms of Redis."""
CLAIM_RUNS = 50
RESCUED_IN_ONE_GO = 500
SCANNED_IN_ONE_GO = 500
PAGE_RUNS = 20
RETIRE_RUNS = 200


class JobStore:
    """Jobs of one prefix on one Redis; any number of processes may share it.

    Args:
        redis: client without `decode_responses`.
        prefix: of every key and channel.
        result_ttl_s: how long a finished job is kept.
        lease_s: silence after which a worker is held to be dead.
        max_deaths: of its owners among others, after which a job is a suspect.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        prefix: str = "aip",
        result_ttl_s: float = 86_400,
        lease_s: float = 15,
        max_deaths: int = 2,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._ttl_ms = round(result_ttl_s * 1000)
        self._lease_ms = round(lease_s * 1000)
        self._max_deaths = max_deaths
        self._headroom = Headroom(redis)
        self._scripts = {name: redis.register_script(lua.source(name)) for name in lua.NAMES}

    async def submit(self, job: NewJob) -> Submitted:
        """Write a new job and its place in line, whatever waits there; see `admit`."""
        submitted = await self.admit(job, limits=NO_LIMITS)
        assert isinstance(submitted, Submitted)  # noqa: S101  there is nothing to be refused by
        return submitted

    async def admit(self, job: NewJob, *, limits: Limits) -> Submitted | Refused:
        """Write a new job and its place in line where there is room. Its flow, among which turns are shared, is its tenant.

        Room is judged and taken in one step: however many submit at once, no limit is passed. A repeat under the same
        idempotency key is never refused.

        Raises:
            IdempotencyMismatch: the tenant used the idempotency key before, for another body.
            IdempotencyGone: for this one, and the job is not kept any more.
            StoreFull: Redis is at its memory limit or near it; nothing was written.
        """
        key, body = job.idempotency or ("", "")
        with store_errors():
            await self._headroom.check()
        job_id, how, *told = await self._run(
            "submit", job.id, job.tenant, job.priority, job.tenant, job.deadline_ms, _digest(key), body,
            *limits.arguments(), *writing.new_job(job),
        )  # fmt: skip
        return reading.submitted(job_id, how.decode(), told)

    async def room(self, tenant: str, *, idempotency_key: str | None, limits: Limits) -> Room:
        """Say whether a job could be written now, without writing anything."""
        return reading.room(await self._run("room", tenant, _digest(idempotency_key), *limits.arguments()))

    async def get(self, job_id: str, *, tenant: str) -> Job | None:
        """Return a job with its result; None when there is none of this tenant's."""
        with store_errors():
            values: list[Any] = await self._redis.hmget(keys.job(self._prefix, job_id), reading.FIELDS)
        found = reading.job(job_id, values) if values[0] else None
        return found if found and found.tenant == tenant else None

    async def page(self, tenant: str, *, status: Status | None, limit: int, after: str | None) -> Page:
        """Return up to `limit` of a tenant's jobs, newest first, without results, from behind the id `after`.

        A rare status may be found less than `limit` times in what one call looks through (PAGE_RUNS times
        SCANNED_IN_ONE_GO jobs): the page is then short, has more, and `next` leads on.
        """
        jobs: list[Job] = []
        last, more = after or "", True
        for _ in range(PAGE_RUNS):
            reached, older, rows = await self._run(
                "page", tenant, status or "", limit - len(jobs), SCANNED_IN_ONE_GO, last, ids.stamp_ms(last),
                *reading.HEAD_FIELDS,
            )  # fmt: skip
            jobs += [reading.job(row[0].decode(), row[1:]) for row in rows]
            last, more = reached.decode() or last, bool(older)
            if not more or len(jobs) == limit:
                break
        return Page(jobs=tuple(jobs), has_more=more, next=last if more else None)

    async def history(self, job_id: str, *, tenant: str) -> tuple[Job, tuple[Happened, ...]] | None:
        """Return a job and all that happened to it, read in one; None when there is none of this tenant's."""
        with store_errors():
            values: list[Any] = await self._redis.hmget(keys.job(self._prefix, job_id), (*reading.FIELDS, "hist"))
        found = reading.job(job_id, values[:-1]) if values[0] else None
        if not found or found.tenant != tenant:
            return None
        return found, history.whole(found, history.happened(values[-1]))

    async def cancel(self, job_id: str, *, tenant: str | None) -> Job | None:
        """End a job as cancelled and return it; one that has ended is returned as it is.

        None when there is none of this tenant's; with tenant None it may be anyone's. The worker that runs it is told.
        """
        values = await self._run("cancel", job_id, tenant or "", *reading.FIELDS)
        return reading.job(job_id, values) if values else None

    async def claim(
        self,
        owner: str,
        *,
        nonce: str,
        classes: Sequence[ReadyClass],
        hint: str | None = None,  # noqa: ARG002  part of the contract with the doorbell; see below
    ) -> Claimed | None:
        """Give the next job due to a worker process; None when nothing is ready in these classes (highest first).

        The same nonce gets the same job for as long as the owner has it, counted once. The hint, the id in a doorbell's
        message, does not change what is due: with one flow the oldest job is the hinted one, unless an older message was
        lost, and then the older job has waited too long already.

        Raises:
            StoreUnavailable: also when nothing but expired jobs was met in CLAIM_RUNS runs; trying again goes on.
        """
        for _ in range(CLAIM_RUNS):
            what, *answer = await self._run("claim", owner, nonce, CLEARED_IN_ONE_GO, *classes)
            if what == b"job":
                return reading.claimed(answer, owner=owner, nonce=nonce)
            if what == b"none":
                return None
        raise StoreUnavailable("Redis is busy ending expired jobs", retry_after_s=1)

    async def complete(self, fence: Fence, outcome: Outcome, *, nonce: str) -> bool:
        """Write how a job ended. False: the fence is not the job's any more; counted, and its cost booked, once a nonce.

        Raises:
            ValueError: the outcome's status is not a final one.
        """
        if not outcome.status.terminal:
            raise ValueError(f"expected the outcome to be final, got {outcome.status}")
        written = await self._run(
            "complete", fence.job_id, fence.value, nonce, outcome.status, writing.money(outcome.cost_usd),
            *writing.outcome(outcome),
        )  # fmt: skip
        return bool(written)

    async def give_back(self, fence: Fence) -> bool:
        """Put a claimed job back in its old place; the delivery is not counted. False: it is not the claim's any more."""
        return bool(await self._run("give_back", fence.job_id, fence.value))

    async def put_back(
        self,
        fence: Fence,
        *,
        delay_ms: int,
        attempts: Sequence[Attempt] = (),
        slots: Sequence[Slot] = (),
        reason: str = "",
    ) -> Put:
        """Put a claimed job aside for `delay_ms`, with what all its deliveries tried; the delivery is not counted.

        `reason` is told to whoever asks what the job waits for, until its next claim.

        It is in line again when one of `slots` is free for it, or `promote` meets it due. STALE: it is not the claim's any
        more.
        """
        places = [part for slot in slots for part in (keys.part(slot.provider), keys.part(slot.model or ""), slot.most)]
        tried = writing.attempts(attempts)
        return Put(await self._run("put_back", fence.job_id, fence.value, max(0, delay_ms), tried, reason, *places))

    async def promote(self, *, limit: int = 1000) -> tuple[str, ...]:
        """Put up to `limit` jobs that were put aside, and are due, back in line; return their ids."""
        return reading.texts(await self._run("promote", limit))

    async def delayed(self) -> int:
        """Return how many jobs are put aside until a known moment."""
        with store_errors():
            count: int = await self._redis.zcard(keys.delayed(self._prefix))
        return count

    async def renew(self, owner: str) -> dict[str, str]:
        """Write a worker's heartbeat; return its jobs as claim nonce -> job id."""
        flat = reading.texts(await self._run("renew", owner))
        return dict(zip(flat[::2], flat[1::2], strict=True))

    async def retire(self, owner: str) -> None:
        """Give back all that a worker has, and forget it: the end of a clean shutdown."""
        for _ in range(RETIRE_RUNS):
            if not await self._run("retire", owner, RESCUED_IN_ONE_GO):
                return

    async def sweep(self) -> Swept:
        """Put the jobs of workers that died back in line, up to RESCUED_IN_ONE_GO of them; book their open attempts as lost.

        A worker is dead when it was silent for a lease while sweeps went on without a gap of half a lease: after a stall
        or a restart of Redis, or of upkeep, the living have a lease to be heard again. A job whose owners died
        `max_deaths` times is a suspect, to be run alone; an owner that dies of a suspect makes it a dead letter.
        """
        unbroken_ms, rescued, poisoned, lost = await self._run(
            "sweep", self._lease_ms, self._max_deaths, RESCUED_IN_ONE_GO
        )
        return Swept(
            rescued=reading.texts(rescued), poisoned=reading.texts(poisoned), unbroken_ms=unbroken_ms, lost=lost
        )

    async def expire_due(self, *, limit: int = 1000) -> tuple[str, ...]:
        """End up to `limit` jobs whose deadline has passed; return their ids. A worker that runs one is told."""
        return reading.texts(await self._run("expire_due", limit))

    async def ready_count(self, classes: Sequence[ReadyClass]) -> int:
        """Return how many jobs wait in these classes."""
        count: int = await self._run("ready_count", *classes)
        return count

    async def waiting(self, classes: Sequence[ReadyClass]) -> dict[ReadyClass, Waiting]:
        """Return of each class how many jobs wait, and the age of the oldest since its submit."""
        flat = await self._run("waiting", *classes)
        triples = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        return {ReadyClass(name.decode()): Waiting(count=count, oldest_age_ms=age) for name, count, age in triples}

    async def owners(self) -> dict[str, int]:
        """Return the worker processes whose lease runs, and how many jobs each has."""
        flat = await self._run("owners", self._lease_ms)
        return {owner.decode(): held for owner, held in zip(flat[::2], flat[1::2], strict=True)}

    async def counters(self) -> dict[str, float]:
        """Return stale_writes, late_cost_usd, rescued, poisoned, each from the first time that it happened."""
        with store_errors():
            raw: dict[Any, Any] = await self._redis.hgetall(keys.counters(self._prefix))
        return {name.decode(): float(value) for name, value in raw.items()}

    async def _run(self, name: str, *args: str | bytes | float) -> Any:
        everything: Iterable[str | bytes | float] = (self._prefix, self._ttl_ms, *args)
        with store_errors():
            return await self._scripts[name](args=everything)


def _digest(idempotency_key: str | None) -> str:
    return keys.idempotency_digest(idempotency_key) if idempotency_key else ""
