"""What a model of the job store knows of each job, and what must hold between both after each step."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, ClassVar

import redis as sync_redis
import redis.asyncio as aioredis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from tests.support.jobs import audit
from tests.support.snapshot import Snapshot
from workers.jobs.models import Claimed, Outcome, ReadyClass, Status
from workers.jobs.store.dead_letters import DeadLetters
from workers.jobs.store.job_store import JobStore

MAX_DEATHS = 2
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


class StoreModel(RuleBasedStateMachine):
    """The store beside what is known of its jobs. `url` is of a server that nobody else uses; `counted` adds up all steps."""

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
        """Return a claim: one that holds, one whose job another has by now, or any; where there is one."""
        running = {job_id: job.holder for job_id, job in sorted(self.jobs.items()) if job.holder is not None}
        overtaken = [claim for claim in self.claims if claim.id in running and claim.fence != running[claim.id].fence]
        among = data.draw(st.sampled_from([list(running.values()), overtaken, self.claims]))
        return data.draw(st.sampled_from(among or self.claims))

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
