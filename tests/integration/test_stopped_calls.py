"""A call that is stopped shows in the job that it was for, whoever ended that."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import redis.asyncio as aioredis

from infrastructure.core.config_core.sections import Breakers
from infrastructure.core.logger_core import get_logger
from tests.support.gates import PREFIX, ledger
from tests.support.jobs import must_claim, submitted
from tests.support.providers import StartManager, account, call, requests, settings_of
from tests.support.sandbox import SandboxProcess
from tests.support.waiting import eventually
from workers.jobs.gate.fleet_gate import FleetGate
from workers.jobs.gate.local_gate import LocalGate
from workers.jobs.gate.redis_gate import RedisGate
from workers.jobs.ids import new_nonce
from workers.jobs.models import Attempt, Claimed, Job, Outcome, Status
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio
End = Callable[[JobStore, Claimed], Awaitable[object]]


async def _cancel(store: JobStore, job: Claimed) -> None:
    await store.cancel(job.id, tenant=None)


async def _give_back(store: JobStore, job: Claimed) -> None:
    await store.give_back(job.fence)


async def _expire(store: JobStore, job: Claimed) -> None:
    await eventually(lambda: _expired(store, job.id), within_s=5, what="the deadline passes")


async def _expired(store: JobStore, job_id: str) -> bool:
    return job_id in await store.expire_due()


async def _called(
    redis: aioredis.Redis, sandbox: SandboxProcess, start_manager: StartManager, end: End, *, deadline_ms: int = 60_000
) -> tuple[JobStore, Claimed, Job]:
    """Have a call hang for a job, end the job so, stop the call as a worker does, and return the job as it is read then."""
    store = JobStore(redis, prefix=PREFIX)
    gate = FleetGate(
        RedisGate(redis, prefix=PREFIX, owner="w1", breakers=Breakers),
        LocalGate(),
        log=get_logger("ai-provider", "test"),
    )
    manager = await start_manager(settings_of(only=account(sandbox, "only")), gate=gate)
    await submitted(store, deadline_ms=deadline_ms)
    job = await must_claim(store, "w1")
    sandbox.set_faults({"preset": "openai-hang"})
    calling = asyncio.create_task(manager.completion(replace(call(max_tokens=50), job=(job.id, job.fence.value))))
    await eventually(lambda: requests(sandbox, "only") == 1, within_s=10, what="the call reaches the provider")
    await end(store, job)
    calling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await calling
    await manager.settle()
    read = await store.get(job.id, tenant="default")
    await gate.close()
    assert read is not None
    return store, job, read


@pytest.mark.parametrize(
    ("end", "deadline_ms", "status", "outcome"),
    [
        (_cancel, 60_000, Status.CANCELLED, "cancelled"),
        (_expire, 1_500, Status.EXPIRED, "stopped"),
        (_give_back, 60_000, Status.QUEUED, "stopped"),
    ],
)
async def test_a_stopped_call_is_an_attempt_of_its_job_and_its_cost_is_unknown(
    redis: aioredis.Redis, sandbox: SandboxProcess, start_manager: StartManager, *, end: End, deadline_ms: int,
    status: Status, outcome: str,
) -> None:  # fmt: skip
    _, _, job = await _called(redis, sandbox, start_manager, end, deadline_ms=deadline_ms)
    [tried] = job.attempts
    assert (job.status, job.cost_usd, job.cost_complete) == (status, None, False)
    assert (tried.provider, tried.outcome, tried.status, tried.cost_usd) == ("only", outcome, None, None)
    assert tried.latency_ms > 0
    booked = {what: amount for (_, _, _, what), amount in (await ledger(redis)).items()}
    assert (booked["calls"], booked["maybe_billed"]) == (1, 1)
    assert booked["maybe_upper_usd"] > 0


async def test_what_a_worker_tells_itself_is_not_told_twice(
    redis: aioredis.Redis, sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    own = Attempt(provider="only", model="m", outcome="provider_timeout", status=None, latency_ms=5, cost_usd=None)

    async def late(store: JobStore, job: Claimed) -> None:
        assert await store.complete(job.fence, Outcome(status=Status.EXPIRED, attempts=(own,)), nonce=new_nonce())

    _, _, job = await _called(redis, sandbox, start_manager, late)
    assert job.attempts == (own,)


async def test_a_job_that_is_run_again_keeps_the_call_that_was_stopped(
    redis: aioredis.Redis, sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    store, job, _ = await _called(redis, sandbox, start_manager, _give_back)
    again = await must_claim(store, "w2")
    assert again.id == job.id
    assert [one.outcome for one in again.attempts] == ["stopped"]
