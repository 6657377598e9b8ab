"""Random steps over the real job store on a real Redis, each judged by a model and by an audit of every key."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from infrastructure.core.error_core import IdempotencyMismatch, NotADeadLetter
from tests.support.jobs import new_job, nonce, success
from tests.support.store_model import MAX_DEATHS, Known, StoreModel
from workers.jobs.models import COMPLETION_CLASSES, Attempt, Outcome, Priority, ReadyClass, Status, Submitted
from workers.jobs.room import Limits, Reason, Refused

SUBMITS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(Priority), st.integers(0, 9)), min_size=1, max_size=4
)
OWNERS = st.sampled_from(["w1", "w2", "w3"])
TENANTS = ("a", "b")
HOUR_MS = 3_600_000
CLASSES = st.sampled_from([COMPLETION_CLASSES, (ReadyClass.SUSPECT,), (ReadyClass.HIGH,), (ReadyClass.LOW, ReadyClass.NORMAL)])  # fmt: skip
HOW = st.sampled_from([Status.COMPLETED, Status.FAILED, Status.EXPIRED])
TRIED = Attempt(provider="p", model="m", outcome="throttled", status=429, latency_ms=1.0, cost_usd=None)


class StoreMachine(StoreModel):
    """All that can happen to jobs, a step at a time."""

    # Submits

    @initialize(jobs=SUBMITS)
    def begin(self, jobs: list[tuple[str, Priority, int]]) -> None:
        self.submit_some(jobs)

    @precondition(lambda self: sum(job.live for job in self.jobs.values()) < 6)
    @rule(jobs=SUBMITS)
    def submit_some(self, jobs: list[tuple[str, Priority, int]]) -> None:
        for tenant, priority, dead in jobs:
            self.submit(tenant, priority, dead)

    def submit(self, tenant: str, priority: Priority, dead: int) -> None:
        job = new_job(tenant=tenant, priority=priority, deadline_ms=0 if dead == 0 else HOUR_MS)
        assert self.run(self.store.submit(job)).created
        self.learn(job.id, Known(tenant=tenant, ready_class=ReadyClass(priority), late=dead == 0))
        if dead == 1:
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

    @rule(
        tenant=st.sampled_from(TENANTS),
        priority=st.sampled_from(Priority),
        own=st.integers(1, 6),
        most=st.integers(1, 9),
    )
    def submit_where_there_is_room(self, tenant: str, priority: Priority, own: int, most: int) -> None:
        limits = Limits(of_tenant=own, of_all=most, reserve=0.3)
        waiting = [job.tenant for job in self.jobs.values() if job.state is Status.QUEUED]
        expected = Reason.TENANT_FULL if waiting.count(tenant) >= own else None
        share = most if priority is Priority.HIGH else limits.of_others or 0
        expected = expected or (Reason.FULL if len(waiting) >= share else None)
        job = new_job(tenant=tenant, priority=priority)
        done = self.run(self.store.admit(job, limits=limits))
        assert (done.reason if isinstance(done, Refused) else None) == expected
        if isinstance(done, Submitted):
            assert done.waiting == waiting.count(tenant) + 1
            self.learn(job.id, Known(tenant=tenant, ready_class=ReadyClass(priority)))

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
    @rule(data=st.data(), times=st.integers(1, 3))
    def work(self, data: st.DataObject, times: int) -> None:
        for _ in range(times):
            self.do_one_thing(data)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), times=st.integers(1, 3))
    def work_on(self, data: st.DataObject, times: int) -> None:
        """The same: hypothesis draws all rules alike and leaves some out of each run, and this is what happens most."""
        self.work(data, times)

    def do_one_thing(self, data: st.DataObject) -> None:
        """Do what a worker does with what it claimed, now or before."""
        steps: list[Callable[[st.DataObject], None]] = [self.complete, self.give_back, self.put_back, self.claim_again]
        steps += [self.complete_again] if self.writes else []
        steps += [self.complete_late_again] if self.stale else []
        data.draw(st.sampled_from(steps))(data)

    def claim_again(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.claims))
        again = self.run(self.store.claim(job.fence.owner, nonce=job.fence.nonce, classes=()))
        if self.holds(job):
            assert (again.fence, again.deliveries) == (job.fence, job.deliveries)
        else:
            assert again is None

    def complete(self, data: st.DataObject) -> None:
        job, write, how = self.any_claim(data), nonce(), data.draw(HOW)
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

    def complete_again(self, data: st.DataObject) -> None:
        job, outcome, write = data.draw(st.sampled_from(self.writes))
        written = self.run(self.store.complete(job.fence, outcome, nonce=write))
        assert written == (job.id in self.jobs)
        if not written:
            self.writes = [one for one in self.writes if one[2] != write]
            self.stale.append((job, write))
            self.counts["stale_writes"] += 1

    def complete_late_again(self, data: st.DataObject) -> None:
        job, write = data.draw(st.sampled_from(self.stale))
        if job.id in self.jobs:  # otherwise the note of it went with the job, and it is counted once more
            assert not self.run(self.store.complete(job.fence, success(), nonce=write))

    def give_back(self, data: st.DataObject) -> None:
        job = self.any_claim(data)
        held = self.holds(job)
        assert self.run(self.store.give_back(job.fence)) == held
        if held:
            self.queue(job.id, delivered=False)

    def put_back(self, data: st.DataObject) -> None:
        job, due, tried = self.any_claim(data), data.draw(st.booleans()), data.draw(st.booleans())
        held, known = self.holds(job), self.jobs.get(job.id)
        attempts = (TRIED,) if tried else ()
        put = self.run(self.store.put_back(job.fence, delay_ms=0 if due else HOUR_MS, attempts=attempts))
        assert put == (held or (known is not None and known.back == job.fence.value))
        if held and known is not None:
            self.queue(job.id, delivered=False)
            known.aside, known.back = "due" if due else "later", job.fence.value
            assert self.run(self.store.put_back(job.fence, delay_ms=0))  # the script sent again

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
    @rule(data=st.data(), foreign=st.booleans(), aside=st.booleans())
    def cancel(self, data: st.DataObject, *, foreign: bool, aside: bool) -> None:
        aside = aside and any(job.aside for job in self.jobs.values())
        job_id = self.any_job(data, lambda job: bool(job.aside) or not aside)
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

    @precondition(lambda self: any(job.holder and not job.late for job in self.jobs.values()))
    @rule(data=st.data(), how=st.sampled_from(["give back", "put back", "die"]), owner=OWNERS)
    def change_hands(self, data: st.DataObject, how: str, owner: str) -> None:
        """Have another delivery of a running job begin, so that what its former owner says comes too late."""
        job_id = self.any_job(data, lambda job: job.holder is not None and not job.late)
        holder = self.jobs[job_id].holder
        assert holder is not None
        if how == "die":
            self.die(holder.fence.owner)
            self.sweep()
        elif how == "give back":
            assert self.run(self.store.give_back(holder.fence))
            self.queue(job_id, delivered=False)
        else:
            assert self.run(self.store.put_back(holder.fence, delay_ms=0))
            self.queue(job_id, delivered=False)
            self.jobs[job_id].aside, self.jobs[job_id].back = "due", holder.fence.value
            self.promote()
        self.claim_until(owner, job_id)

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
