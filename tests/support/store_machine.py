"""Random steps over the real job store on a real Redis, each judged by a model and by an audit of every key."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, ClassVar

import redis as sync_redis
import redis.asyncio as aioredis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from infrastructure.core.error_core import IdempotencyMismatch, NotADeadLetter
from tests.support.jobs import audit, new_job, nonce, success
from tests.support.snapshot import Snapshot
from workers.jobs.models import COMPLETION_CLASSES, Attempt, Claimed, Outcome, Priority, ReadyClass, Status
from workers.jobs.store.dead_letters import DeadLetters
from workers.jobs.store.job_store import JobStore

SUBMITS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(Priority), st.integers(0, 9)), min_size=1, max_size=4
)
OWNERS = st.sampled_from(["w1", "w2", "w3"])
TENANTS = ("a", "b")
MAX_DEATHS = 2
HOUR_MS = 3_600_000
CLASSES = st.sampled_from([COMPLETION_CLASSES, (ReadyClass.SUSPECT,), (ReadyClass.HIGH,), (ReadyClass.LOW, ReadyClass.NORMAL)])  # fmt: skip
HOW = st.sampled_from([Status.COMPLETED, Status.FAILED, Status.EXPIRED])
TRIED = Attempt(provider="p", model="m", outcome="throttled", status=429, latency_ms=1.0, cost_usd=None)
AFTER_THE_END = {b"retried"}


@dataclass(slots=True)
class Known:
    """What the model knows of one job."""

    tenant: str
    ready_class: ReadyClass
    state: Status = Status.QUEUED
    aside: str = ""
    """Put aside: `due` or `later`; the empty text for a job that has a place in line, or none."""
    late: bool = False
    deliveries: int = 0
    deaths: int = 0
    lone_deaths: int = 0
    holder: Claimed | None = None
    back: str = ""
    fences: list[int] = field(default_factory=list)
    poisoned: bool = False
    retried: str | None = None
    retry_of: str | None = None
    ended: dict[bytes, bytes] | None = None

    @property
    def live(self) -> bool:
        return not self.state.terminal


class StoreMachine(RuleBasedStateMachine):
    """The store beside a model of it. `url` is of an empty server that nobody else uses; `counted` adds up all steps."""

    url: ClassVar[str]
    counted: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.client: Any = sync_redis.Redis.from_url(self.url)
        self.client.flushall()
        self.redis: aioredis.Redis = aioredis.Redis.from_url(self.url)
        self.store = JobStore(self.redis, lease_s=600, max_deaths=MAX_DEATHS)
        self.dead = DeadLetters(self.redis)
        self.jobs: dict[str, Known] = {}
        self.gone: dict[str, Known] = {}
        self.claims: list[Claimed] = []
        self.writes: list[tuple[Claimed, Outcome, str]] = []
        self.stale: list[tuple[Claimed, str]] = []
        self.keys: dict[tuple[str, str], tuple[str, str]] = {}
        self.buried: list[str] = []
        self.silent: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.counted["runs"] += 1
        self.taken = 0

    def run(self, step: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(step)

    def teardown(self) -> None:
        self.counted[f"runs of {self.taken} steps"] += 1
        self.run(self.redis.aclose())
        self.runner.close()
        self.client.close()

    # Submits

    @initialize(jobs=SUBMITS)
    def begin(self, jobs: list[tuple[str, Priority, int]]) -> None:
        self.submit_some(jobs)

    @rule(jobs=SUBMITS)
    def submit_some(self, jobs: list[tuple[str, Priority, int]]) -> None:
        for tenant, priority, dead in jobs:
            self.submit(tenant, priority, dead)

    def submit(self, tenant: str, priority: Priority, dead: int) -> None:
        job = new_job(tenant=tenant, priority=priority, deadline_ms=0 if dead == 0 else HOUR_MS)
        assert self.run(self.store.submit(job)).created
        self.learn(job.id, Known(tenant=tenant, ready_class=ReadyClass(priority), late=dead == 0))
        again = self.run(self.store.submit(job))  # the script sent again
        assert (again.job_id, again.created) == (job.id, True)

    @rule(tenant=st.sampled_from(TENANTS), key=st.sampled_from("kl"), body=st.sampled_from("xy"))
    def submit_once(self, tenant: str, key: str, body: str) -> None:
        job = new_job(tenant=tenant, idempotency=(key, body))
        held = self.keys.get((tenant, key))
        if held is None or held[0] not in self.jobs:
            assert self.run(self.store.submit(job)).created
            self.learn(job.id, Known(tenant=tenant, ready_class=ReadyClass.NORMAL))
            self.keys[tenant, key] = (job.id, body)
            return
        try:
            found = self.run(self.store.submit(job))
        except IdempotencyMismatch:
            assert held[1] != body
        else:
            assert (found.job_id, found.created, body) == (held[0], False, held[1])

    # A worker's steps

    @precondition(lambda self: any(job.state is Status.QUEUED for job in self.jobs.values()))
    @rule(owner=OWNERS, classes=CLASSES, times=st.integers(1, 3))
    def claim_some(self, owner: str, classes: tuple[ReadyClass, ...], times: int) -> None:
        for _ in range(times):
            self.claim(owner, classes)

    def claim(self, owner: str, classes: tuple[ReadyClass, ...]) -> None:
        before = [job_id for job_id, job in self.jobs.items() if job.state is Status.QUEUED]
        job = self.run(self.store.claim(owner, nonce=nonce(), classes=classes))
        self.learn_expired(before)
        ready = {i for i in before if (known := self.jobs[i]).live and not known.aside and known.ready_class in classes}
        if job is None:
            assert not ready
            return
        known = self.jobs[job.id]
        assert job.id in ready
        assert not known.late
        known.deliveries += 1
        assert (job.ready_class, job.deliveries, job.deaths) == (known.ready_class, known.deliveries, known.deaths)
        known.state, known.holder = Status.IN_PROGRESS, job
        known.fences.append(int(job.fence.value.split(":")[0]))
        assert known.fences == sorted(set(known.fences))
        self.claims.append(job)
        self.counted["claims"] += 1

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def claim_again(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.claims))
        again = self.run(self.store.claim(job.fence.owner, nonce=job.fence.nonce, classes=()))
        if self.holds(job):
            assert (again.fence, again.deliveries) == (job.fence, job.deliveries)
        else:
            assert again is None

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), how=HOW)
    def complete(self, data: st.DataObject, how: Status) -> None:
        job, write = self.any_claim(data), nonce()
        outcome = (
            success() if how is Status.COMPLETED else Outcome(status=how, error=("bad_answer", "no"), cost_usd=0.25)
        )
        held = self.holds(job)
        assert self.run(self.store.complete(job.fence, outcome, nonce=write)) == held
        if held:
            self.end(job.id, how)
            self.writes.append((job, outcome, write))
        else:
            self.stale.append((job, write))
            self.counts["stale_writes"] += 1

    @precondition(lambda self: self.writes)
    @rule(data=st.data())
    def complete_again(self, data: st.DataObject) -> None:
        job, outcome, write = data.draw(st.sampled_from(self.writes))
        written = self.run(self.store.complete(job.fence, outcome, nonce=write))
        assert written == (job.id in self.jobs)
        if not written:
            self.writes = [one for one in self.writes if one[2] != write]
            self.stale.append((job, write))
            self.counts["stale_writes"] += 1

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def complete_late_again(self, data: st.DataObject) -> None:
        job, write = data.draw(st.sampled_from(self.stale))
        if job.id in self.jobs:  # otherwise the note of it went with the job, and it is counted once more
            assert not self.run(self.store.complete(job.fence, success(), nonce=write))

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        job = self.any_claim(data)
        held = self.holds(job)
        assert self.run(self.store.give_back(job.fence)) == held
        if held:
            self.queue(job.id, delivered=False)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), due=st.booleans(), tried=st.booleans())
    def put_back(self, data: st.DataObject, *, due: bool, tried: bool) -> None:
        job = self.any_claim(data)
        held, known = self.holds(job), self.jobs.get(job.id)
        attempts = (TRIED,) if tried else ()
        put = self.run(self.store.put_back(job.fence, delay_ms=0 if due else HOUR_MS, attempts=attempts))
        assert put == (held or (known is not None and known.back == job.fence.value))
        if held and known is not None:
            self.queue(job.id, delivered=False)
            known.aside, known.back = "due" if due else "later", job.fence.value

    @rule(owner=OWNERS)
    def renew(self, owner: str) -> None:
        assert self.run(self.store.renew(owner)) == {job.fence.nonce: job_id for job_id, job in self.held_by(owner)}
        self.silent.discard(owner)

    @precondition(lambda self: any(job.holder for job in self.jobs.values()))
    @rule(owner=OWNERS)
    def retire(self, owner: str) -> None:
        self.run(self.store.retire(owner))
        for job_id, _ in self.held_by(owner):
            self.queue(job_id, delivered=False)
        self.silent.discard(owner)
        assert self.client.zscore("aip:workers", owner) is None

    # What happens to jobs from outside

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), foreign=st.booleans())
    def cancel(self, data: st.DataObject, *, foreign: bool) -> None:
        job_id = self.any_job(data)
        known = self.jobs[job_id]
        tenant = next(one for one in TENANTS if (one != known.tenant) == foreign)
        job = self.run(self.store.cancel(job_id, tenant=tenant))
        if foreign:
            assert job is None
            return
        if known.live:
            self.end(job_id, Status.CANCELLED)
        assert job.status is known.state

    @precondition(lambda self: any(job.live and not job.late for job in self.jobs.values()))
    @rule(data=st.data())
    def pass_deadline(self, data: st.DataObject) -> None:
        """Let the deadline of a job be the moment of its submit."""
        job_id = self.any_job(data, lambda job: job.live and not job.late)
        created = self.client.hget(f"aip:job:{job_id}", "created")
        self.client.hset(f"aip:job:{job_id}", "deadline", created)
        self.client.zadd("aip:jobs:deadline", {job_id: float(created)}, xx=True)
        self.jobs[job_id].late = True

    @precondition(lambda self: any(job.live and job.late for job in self.jobs.values()))
    @rule()
    def expire_due(self) -> None:
        ended = self.run(self.store.expire_due())
        assert set(ended) == {job_id for job_id, job in self.jobs.items() if job.live and job.late}
        for job_id in ended:
            self.end(job_id, Status.EXPIRED)

    @precondition(lambda self: any(job.aside for job in self.jobs.values()))
    @rule()
    def promote(self) -> None:
        due = {job_id for job_id, job in self.jobs.items() if job.aside == "due"}
        assert set(self.run(self.store.promote())) == due
        for job_id in due:
            self.jobs[job_id].aside = ""

    @precondition(lambda self: any(job.aside == "later" for job in self.jobs.values()))
    @rule(data=st.data())
    def wait_until_due(self, data: st.DataObject) -> None:
        job_id = self.any_job(data, lambda job: job.aside == "later")
        self.client.zadd("aip:jobs:delayed", {job_id: 1}, xx=True)
        self.jobs[job_id].aside = "due"

    @precondition(lambda self: any(not job.live for job in self.jobs.values()))
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """Let the time to live of an ended job be over, and with it that of its idempotency claim."""
        job_id = self.any_job(data, lambda job: not job.live)
        digest = self.client.hget(f"aip:job:{job_id}", "idem")
        known = self.gone[job_id] = self.jobs.pop(job_id)
        self.client.delete(f"aip:job:{job_id}")
        if digest:
            self.client.delete(f"aip:idem:{known.tenant}:{digest.decode()}")

    # Deaths

    @precondition(lambda self: any(job.holder for job in self.jobs.values()))
    @rule(owner=OWNERS)
    def die(self, owner: str) -> None:
        if self.client.zadd("aip:workers", {owner: 1}, xx=True, ch=True) or self.held_by(owner):
            self.silent.add(owner)

    @precondition(lambda self: self.silent)
    @rule()
    def sweep_after_a_gap(self) -> None:
        self.client.delete("aip:sweep")
        swept = self.run(self.store.sweep())
        assert (swept.rescued, swept.poisoned, swept.unbroken_ms) == ((), (), 0)

    @precondition(lambda self: self.silent)
    @rule()
    def sweep(self) -> None:
        now_ms = int(self.client.time()[0]) * 1000
        self.client.hset("aip:sweep", mapping={"last": now_ms, "since": now_ms - 10 * HOUR_MS})
        lost = {job_id for owner in self.silent for job_id, _ in self.held_by(owner)}
        to_bury = {job_id for job_id in lost if self.kills_again(job_id)}
        swept = self.run(self.store.sweep())
        assert (set(swept.rescued), set(swept.poisoned)) == (lost - to_bury, to_bury)
        for job_id in lost:
            self.rescue(job_id)
        self.buried += swept.poisoned
        self.silent.clear()
        for counter in (self.counts, self.counted):
            counter.update(rescued=len(swept.rescued), poisoned=len(swept.poisoned))

    @precondition(lambda self: any(job.live and not job.aside and not job.late for job in self.jobs.values()))
    @rule(data=st.data(), times=st.integers(1, 4))
    def poison(self, data: st.DataObject, times: int) -> None:
        """Let a job kill its owner so many times in a row: random steps alone would hardly ever bury one."""
        job_id = self.any_job(data, lambda job: job.live and not job.aside and not job.late)
        for _ in range(times):
            if self.jobs[job_id].state is Status.QUEUED:
                self.claim_until("w3", job_id)
            holder = self.jobs[job_id].holder
            if holder is None:
                return
            self.die(holder.fence.owner)
            self.sweep()

    def claim_until(self, owner: str, job_id: str) -> None:
        for _ in range(len(self.jobs)):
            if self.jobs[job_id].state is not Status.QUEUED:
                return
            self.claim(owner, (self.jobs[job_id].ready_class,))

    def kills_again(self, job_id: str) -> bool:
        job = self.jobs[job_id]
        return job.ready_class is ReadyClass.SUSPECT and job.deaths + 1 > MAX_DEATHS + 1

    def rescue(self, job_id: str) -> None:
        job, buried = self.jobs[job_id], self.kills_again(job_id)
        job.lone_deaths += job.ready_class is ReadyClass.SUSPECT
        job.deaths += 1
        if buried:
            assert job.lone_deaths >= 2, "an innocent job may not be buried"
            job.poisoned = True
            self.end(job_id, Status.FAILED)
            return
        if job.deaths >= MAX_DEATHS:
            job.ready_class = ReadyClass.SUSPECT
        self.queue(job_id, delivered=True)

    # Dead letters

    @precondition(lambda self: self.buried)
    @rule(data=st.data(), whose=st.sampled_from(["own", "other", "any"]))
    def retry(self, data: st.DataObject, whose: str) -> None:
        job_id = data.draw(st.sampled_from(self.buried))
        old = self.jobs.get(job_id)
        owner = (old or self.gone[job_id]).tenant
        tenant = {"own": owner, "other": TENANTS[owner == TENANTS[0]], "any": None}[whose]
        found = self.run(self.dead.retry(job_id, tenant=tenant))
        if old is None or whose == "other":
            assert found is None
            return
        assert (found.tenant, found.created) == (owner, old.retried is None)
        if old.retried is None:
            old.retried = found.job_id
            self.learn(found.job_id, Known(tenant=owner, ready_class=ReadyClass.SUSPECT, late=old.late,
                                           deaths=old.deaths - 2, retry_of=job_id))  # fmt: skip
            self.counted["retries"] += 1
        assert found.job_id == old.retried

    @precondition(lambda self: any(not job.poisoned for job in self.jobs.values()))
    @rule(data=st.data())
    def retry_another(self, data: st.DataObject) -> None:
        job_id = self.any_job(data, lambda job: not job.poisoned)
        try:
            self.run(self.dead.retry(job_id, tenant=None))
        except NotADeadLetter:
            return
        raise AssertionError("expected a job that is no dead letter to be refused")

    @precondition(lambda self: self.buried)
    @rule(tenant=st.sampled_from([*TENANTS, None]), limit=st.integers(1, 3))
    def list_dead(self, tenant: str | None, limit: int) -> None:
        expected = [i for i in self.buried if i in self.jobs and tenant in {None, self.jobs[i].tenant}]
        found, after = [], None
        for _ in range(len(self.buried) + 1):
            page = self.run(self.dead.page(tenant, limit=limit, after=after))
            found += [(letter.job.id, letter.retried_as) for letter in page.letters]
            after = page.next
            if after is None:
                break
        assert sorted(found) == sorted((job_id, self.jobs[job_id].retried) for job_id in expected)

    # Reading

    @rule(tenant=st.sampled_from(TENANTS), status=st.sampled_from([*Status, None]), limit=st.integers(1, 5))
    def page(self, tenant: str, status: Status | None, limit: int) -> None:
        expected = {i for i, job in self.jobs.items() if job.tenant == tenant and status in {None, job.state}}
        found, after = [], None
        for _ in range(len(self.jobs) + len(self.gone) + 1):
            page = self.run(self.store.page(tenant, status=status, limit=limit, after=after))
            found += list(page.jobs)
            after = page.next
            if after is None:
                break
        assert sorted(job.id for job in found) == sorted(expected)
        assert [job.created_ms for job in found] == sorted((job.created_ms for job in found), reverse=True)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), foreign=st.booleans())
    def read(self, data: st.DataObject, *, foreign: bool) -> None:
        job_id = self.any_job(data)
        known = self.jobs[job_id]
        tenant = next(one for one in TENANTS if (one != known.tenant) == foreign)
        found = self.run(self.store.history(job_id, tenant=tenant))
        if foreign:
            assert found is None
            return
        job, happened = found
        assert (job.status, job.deliveries, job.retry_of) == (known.state, known.deliveries, known.retry_of)
        assert happened[-1].what.status is known.state
        assert (job.result is not None) == (known.state is Status.COMPLETED)

    # What must hold after each step

    @invariant()
    def everything_fits(self) -> None:
        self.counted["steps"] += 1
        self.taken += 1
        snapshot = Snapshot(self.client)
        assert audit(snapshot) == []
        hashes = {
            name.rsplit(":", 1)[1]: value for name, value in snapshot.values.items() if name.startswith("aip:job:")
        }
        assert hashes.keys() == self.jobs.keys()
        for job_id, job in self.jobs.items():
            self.fits(hashes[job_id], job)
        counters = snapshot.hgetall("aip:counters")
        for name in ("stale_writes", "rescued", "poisoned"):
            assert int(counters.get(name.encode(), 0)) == self.counts[name], name

    def fits(self, found: dict[bytes, bytes], job: Known) -> None:
        """Compare a job's hash with the model; once it has ended it never changes, but for notes of what came too late."""
        assert found[b"state"] == job.state.encode()
        assert found[b"class"] == job.ready_class.encode()
        assert int(found.get(b"deliveries", 0)) == job.deliveries
        assert int(found.get(b"deaths", 0)) == job.deaths
        if job.live:
            return
        kept = {
            name: value for name, value in found.items() if name not in AFTER_THE_END and not name.startswith(b"late:")
        }
        if job.ended is None:
            job.ended = kept
        assert kept == job.ended

    # The model

    def learn(self, job_id: str, job: Known) -> None:
        assert job_id not in self.jobs
        self.jobs[job_id] = job
        self.counted["jobs"] += 1

    def learn_expired(self, among: list[str]) -> None:
        """Take over which queued jobs a claim has ended: only such whose deadline has passed."""
        for job_id in among:
            if self.client.hget(f"aip:job:{job_id}", "state") == b"expired":
                assert self.jobs[job_id].late
                self.end(job_id, Status.EXPIRED)

    def any_job(self, data: st.DataObject, such: Any = lambda _: True) -> str:
        found: str = data.draw(st.sampled_from(sorted(job_id for job_id, job in self.jobs.items() if such(job))))
        return found

    def any_claim(self, data: st.DataObject) -> Claimed:
        """Return a claim: two of three times one that holds, where there is any."""
        holding = [job.holder for _, job in sorted(self.jobs.items()) if job.holder is not None]
        old = data.draw(st.integers(0, 2)) == 2 or not holding
        return data.draw(st.sampled_from(self.claims if old else holding))

    def held_by(self, owner: str) -> list[tuple[str, Claimed]]:
        held = [(job_id, job.holder) for job_id, job in self.jobs.items() if job.holder is not None]
        return [(job_id, holder) for job_id, holder in held if holder.fence.owner == owner]

    def holds(self, job: Claimed) -> bool:
        known = self.jobs.get(job.id)
        return known is not None and known.holder is not None and known.holder.fence == job.fence

    def queue(self, job_id: str, *, delivered: bool) -> None:
        job = self.jobs[job_id]
        job.state, job.holder = Status.QUEUED, None
        job.deliveries -= not delivered

    def end(self, job_id: str, state: Status) -> None:
        job = self.jobs[job_id]
        assert job.live
        job.state, job.holder, job.aside = state, None, ""
        self.counted["ends"] += 1
