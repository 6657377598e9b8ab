"""The job store against a model: random steps, and after each every key must fit every other and no end may change."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, ClassVar

import pytest
import redis as sync_redis
import redis.asyncio as aioredis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from infrastructure.core.error_core import IdempotencyMismatch
from tests.support.jobs import audit, new_job, nonce, success
from tests.support.redis_server import RedisServer
from workers.jobs.models import COMPLETION_CLASSES, Claimed, Outcome, Priority, ReadyClass, Status, Submitted
from workers.jobs.room import Limits, Reason, Refused
from workers.jobs.store.job_store import JobStore

OWNERS = st.sampled_from(["w1", "w2"])
TENANTS = ("a", "b")
ENDS = {Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.EXPIRED}


class StoreMachine(RuleBasedStateMachine):
    """Knows of each job its state, and of each claim whether it still holds."""

    server: ClassVar[RedisServer]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.client = sync_redis.Redis.from_url(self.server.url)
        self.client.flushall()
        self.redis: aioredis.Redis = aioredis.Redis.from_url(self.server.url)
        self.store = JobStore(self.redis, lease_s=600)
        self.tenant: dict[str, str] = {}
        self.state: dict[str, Status] = {}
        self.holder: dict[str, Claimed] = {}
        self.claims: list[Claimed] = []
        self.backs: dict[str, str] = {}
        self.writes: list[tuple[Claimed, str]] = []
        self.keys: dict[tuple[str, str], tuple[str, str]] = {}

    def run(self, step: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(step)

    def teardown(self) -> None:
        self.run(self.redis.aclose())
        self.runner.close()
        self.client.close()

    @rule(tenant=st.sampled_from(TENANTS), priority=st.sampled_from(Priority), dead=st.integers(0, 9))
    def submit(self, tenant: str, priority: Priority, dead: int) -> None:
        job = new_job(tenant=tenant, priority=priority, deadline_ms=0 if dead == 0 else 3_600_000)
        assert self.run(self.store.submit(job)).created
        self.tenant[job.id], self.state[job.id] = tenant, Status.QUEUED

    @rule(tenant=st.sampled_from(TENANTS), key=st.sampled_from("kl"), body=st.sampled_from("xy"))
    def submit_under_a_key(self, tenant: str, key: str, body: str) -> None:
        job = new_job(tenant=tenant, idempotency=(key, body))
        made, its_body = self.keys.setdefault((tenant, key), (job.id, body))
        if its_body != body:
            with pytest.raises(IdempotencyMismatch):
                self.run(self.store.submit(job))
            return
        submitted = self.run(self.store.submit(job))
        assert (submitted.job_id, submitted.created) == (made, made == job.id)
        if submitted.created:
            self.tenant[job.id], self.state[job.id] = tenant, Status.QUEUED

    @rule(
        tenant=st.sampled_from(TENANTS),
        priority=st.sampled_from(Priority),
        own=st.integers(1, 6),
        all_=st.integers(1, 9),
    )
    def submit_where_there_is_room(self, tenant: str, priority: Priority, own: int, all_: int) -> None:
        job = new_job(tenant=tenant, priority=priority)
        limits = Limits(of_tenant=own, of_all=all_, reserve=0.3)
        queued = [self.tenant[job_id] for job_id, state in self.state.items() if state is Status.QUEUED]
        expected = Reason.TENANT_FULL if queued.count(tenant) >= own else None
        most = all_ if priority is Priority.HIGH else limits.of_others or 0
        expected = expected or (Reason.FULL if len(queued) >= most else None)
        done = self.run(self.store.admit(job, limits=limits))
        assert (done.reason if isinstance(done, Refused) else None) == expected
        if isinstance(done, Submitted):
            assert done.waiting == queued.count(tenant) + 1
            self.tenant[job.id], self.state[job.id] = tenant, Status.QUEUED

    @rule(owner=OWNERS, suspect=st.booleans())
    def claim(self, owner: str, suspect: bool) -> None:
        classes = (ReadyClass.SUSPECT,) if suspect else COMPLETION_CLASSES
        before = {job_id for job_id, state in self.state.items() if state is Status.QUEUED}
        job = self.run(self.store.claim(owner, nonce=nonce(), classes=classes))
        self.learn_expired(before)
        if job is None:
            assert self.run(self.store.ready_count(classes)) == 0
            return
        assert self.state[job.id] is Status.QUEUED
        assert job.ready_class in classes
        self.state[job.id], self.holder[job.id] = Status.IN_PROGRESS, job
        self.claims.append(job)

    def learn_expired(self, among: set[str]) -> None:
        """Take over which queued jobs a claim or a look at the deadlines has ended."""
        for job_id in among:
            if self.client.hget(f"aip:job:{job_id}", "state") == b"expired":
                self.state[job_id] = Status.EXPIRED

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def claim_again(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.claims))
        again = self.run(self.store.claim(job.fence.owner, nonce=job.fence.nonce, classes=()))
        held = self.holder.get(job.id)
        if held is not None and held.fence == job.fence:
            assert again.fence == job.fence
            assert again.deliveries == job.deliveries
        else:
            assert again is None

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), fails=st.booleans())
    def complete(self, data: st.DataObject, fails: bool) -> None:
        job, claim = data.draw(st.sampled_from(self.claims)), nonce()
        how = Outcome(status=Status.FAILED, error=("bad_answer", "no")) if fails else success()
        written = self.run(self.store.complete(job.fence, how, nonce=claim))
        assert written == self.holds(job)
        if written:
            self.end(job.id, how.status)
            self.writes.append((job, claim))

    @precondition(lambda self: self.writes)
    @rule(data=st.data())
    def complete_again(self, data: st.DataObject) -> None:
        job, claim = data.draw(st.sampled_from(self.writes))
        assert self.run(self.store.complete(job.fence, success(), nonce=claim))

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.claims))
        given = self.run(self.store.give_back(job.fence))
        assert given == self.holds(job)
        if given:
            self.queue(job.id)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), due=st.booleans())
    def put_back(self, data: st.DataObject, due: bool) -> None:
        job = data.draw(st.sampled_from(self.claims))
        put = self.run(self.store.put_back(job.fence, delay_ms=0 if due else 3_600_000))
        assert put == (self.holds(job) or self.backs.get(job.id) == job.fence.value)
        if self.holds(job):
            self.queue(job.id)
            self.backs[job.id] = job.fence.value

    @rule()
    def promote(self) -> None:
        for job_id in self.run(self.store.promote()):
            assert self.state[job_id] is Status.QUEUED

    @precondition(lambda self: self.state)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.state)))
        job = self.run(self.store.cancel(job_id, tenant=self.tenant[job_id]))
        if self.state[job_id] not in ENDS:
            self.end(job_id, Status.CANCELLED)
        assert job.status is self.state[job_id]

    @rule(owner=OWNERS)
    def die(self, owner: str) -> None:
        self.client.zadd("aip:workers", {owner: 1}, xx=True)
        now_ms = int(self.client.time()[0]) * 1000
        self.client.hset("aip:sweep", mapping={"last": now_ms, "since": now_ms - 10_000_000})
        swept = self.run(self.store.sweep())
        expected = {job_id for job_id, job in self.holder.items() if job.fence.owner == owner}
        assert {*swept.rescued, *swept.poisoned} == expected
        for job_id in swept.rescued:
            self.queue(job_id)
        for job_id in swept.poisoned:
            assert self.holder[job_id].ready_class is ReadyClass.SUSPECT
            self.end(job_id, Status.FAILED)

    @rule(owner=OWNERS)
    def retire(self, owner: str) -> None:
        self.run(self.store.retire(owner))
        for job_id in [job_id for job_id, job in self.holder.items() if job.fence.owner == owner]:
            self.queue(job_id)

    @rule(owner=OWNERS)
    def renew(self, owner: str) -> None:
        mine = {job.fence.nonce: job_id for job_id, job in self.holder.items() if job.fence.owner == owner}
        assert self.run(self.store.renew(owner)) == mine

    @rule()
    def expire_due(self) -> None:
        for job_id in self.run(self.store.expire_due()):
            assert self.state[job_id] not in ENDS
            self.end(job_id, Status.EXPIRED)

    @invariant()
    def keys_fit_each_other(self) -> None:
        assert audit(self.client) == []

    @invariant()
    def jobs_are_in_the_state_that_the_model_knows(self) -> None:
        for job_id, state in self.state.items():
            assert self.client.hget(f"aip:job:{job_id}", "state") == state.encode()

    def holds(self, job: Claimed) -> bool:
        held = self.holder.get(job.id)
        return held is not None and held.fence == job.fence

    def queue(self, job_id: str) -> None:
        self.state[job_id] = Status.QUEUED
        self.holder.pop(job_id, None)

    def end(self, job_id: str, state: Status) -> None:
        assert self.state[job_id] not in ENDS
        self.state[job_id] = state
        self.holder.pop(job_id, None)


@pytest.fixture
def machine(redis_server: RedisServer) -> Iterator[type[StoreMachine]]:
    StoreMachine.server = redis_server
    yield StoreMachine
    del StoreMachine.server


def test_random_steps_keep_the_store_sound(machine: type[StoreMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
