"""Jobs as values: what is submitted, claimed, written and read."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any


class Status(StrEnum):
    """States of a job: `queued -> in_progress -> completed | failed | cancelled | expired`; rescue leads back to queued."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        """Say whether the state is final; final states never change."""
        return self not in {Status.QUEUED, Status.IN_PROGRESS}


class Priority(StrEnum):
    """What a caller may ask for; each is a class of the ready queue."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class ReadyClass(StrEnum):
    """Classes of the ready queue, highest first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    BATCH = "batch"
    SUSPECT = "suspect"


COMPLETION_CLASSES = (ReadyClass.HIGH, ReadyClass.NORMAL, ReadyClass.LOW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One provider call. `outcome` is `ok` or a class of failure; `cost_usd` None when unknown; `latency_ms` wall time."""

    provider: str
    model: str
    outcome: str
    status: int | None
    latency_ms: float
    cost_usd: float | None
    breaker: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be written.

    `request` is packed (`codec.pack`); `deadline_ms` counts from the submit; `idempotency` is the caller's key and its
    body's digest.
    """

    id: str
    tenant: str
    kind: str
    model: str
    request: bytes
    priority: Priority
    deadline_ms: int
    metadata: dict[str, str]
    config_version: str
    idempotency: tuple[str, str] | None = None
    request_id: str | None = None
    """Of the HTTP request, at most 128 characters: the worker's log lines tell it too."""
    webhook: str | None = None
    """Id of the endpoint that hears of its end."""


@dataclass(frozen=True, slots=True)
class Fence:
    """A worker's right to write a job: new at each claim, void after rescue, cancel and deadline."""

    job_id: str
    owner: str
    nonce: str
    """Of the claim; the key of the job in `owner:{owner}:jobs`."""
    value: str
    """Counter and nonce, as the job holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A job that this process now owns. At the claim, by Redis: `remaining_ms` to its deadline, `age_ms` since its submit.

    `claimed_at` is when Redis had answered, in seconds on the monotonic clock.
    """

    fence: Fence
    tenant: str
    kind: str
    model: str
    request: bytes
    ready_class: ReadyClass
    deliveries: int
    deaths: int
    remaining_ms: int
    age_ms: int
    config_version: str
    attempts: tuple[Attempt, ...] = ()
    request_id: str | None = None
    claimed_at: float = field(default_factory=time.monotonic, compare=False)

    @property
    def id(self) -> str:
        """Return the job's id."""
        return self.fence.job_id

    @property
    def remaining_s(self) -> float:
        """Return the seconds that are left until the deadline, now."""
        return self.remaining_ms / 1000 - (time.monotonic() - self.claimed_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended: exactly one is written for each job. `result` is packed; `error` is (code, message)."""

    status: Status
    result: bytes | None = None
    error: tuple[str, str] | None = None
    usage: dict[str, Any] | None = None
    cost_usd: float | None = None
    saved_usd: float | None = None
    saved_ms: float | None = None
    cache: str = "miss"
    attempts: tuple[Attempt, ...] = ()
    config_version: str = ""
    """Of the configuration that it ran under, where it ran at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """What a job that was put back waits for: a provider that may be called, not before `until_ms`."""

    reason: str | None
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it is read. Times are milliseconds since 1970, by Redis; None where it has not happened."""

    id: str
    tenant: str
    kind: str
    status: Status
    model: str
    created_ms: int
    started_ms: int | None = None
    finished_ms: int | None = None
    deadline_at_ms: int | None = None
    deliveries: int = 0
    result: dict[str, Any] | None = None
    error: tuple[str, str] | None = None
    usage: dict[str, Any] | None = None
    cost_usd: float | None = None
    saved_usd: float | None = None
    saved_ms: float | None = None
    cache: str | None = None
    attempts: tuple[Attempt, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    retry_of: str | None = None
    """The dead letter that this job is a retry of."""
    waits: Waits | None = None
    """Of a queued job that was put back."""

    @property
    def cost_complete(self) -> bool:
        """Say whether `cost_usd` is all that the job cost: no attempt may have been billed beside it."""
        return self.cost_usd is not None and all(attempt.cost_usd is not None for attempt in self.attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place for one of `most` calls in flight at once: of a provider account, or where it is given of one of its models."""

    provider: str
    model: str | None
    most: int


class Put(IntEnum):
    """What came of a put-back; false where it was refused."""

    STALE = 0
    ASIDE = 1
    IN_LINE = 2
    """A slot that it waits for has become free: it is to be rung for."""


class What(StrEnum):
    """What can happen to a job; the store keeps one letter of each."""

    QUEUED = "queued"
    """Submitted, or given back without harm: the delivery was not counted."""
    IN_PROGRESS = "in_progress"
    PUT_BACK = "put_back"
    RESCUED = "rescued"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def status(self) -> Status:
        """Return the state that the job is in from then on."""
        return Status.QUEUED if self in {What.PUT_BACK, What.RESCUED} else Status(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One thing that happened to a job: its number in the job's life (from 1), and the delivery that it is about."""

    number: int
    what: What
    at_ms: int
    delivery: int
    until_ms: int | None = None
    """When a job that was put back is due again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What a submit led to: a new job, or the one that its idempotency key made before."""

    job_id: str
    created: bool
    waiting: int | None = None
    """Jobs of the tenant that wait, this one too, where it is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A part of a list of jobs, without their results. `next` is what to go on behind, None when there is no more."""

    jobs: tuple[Job, ...]
    has_more: bool
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A job that killed every worker that ran it. `left_ms`: for so long it is kept, and can be retried."""

    job: Job
    deaths: int
    left_ms: int
    retried_as: str | None
    """The job that is its retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadPage:
    """A part of the list of dead letters. `next` is what to go on behind, None when there is no more."""

    letters: tuple[DeadLetter, ...]
    has_more: bool
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What the retry of a dead letter led to: a new job, or the one that was made of it before."""

    job_id: str
    tenant: str
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep did: ids back in line, ids of new dead letters, and for how long sweeps have gone on without a gap.

    `lost`: provider calls that were under way in the dead, booked as lost.
    """

    rescued: tuple[str, ...]
    poisoned: tuple[str, ...]
    unbroken_ms: int
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Jobs of one class that wait, and how long the oldest has."""

    count: int
    oldest_age_ms: int


def rfc3339(ms: int | None) -> str | None:
    """Return an instant as RFC 3339 in UTC with milliseconds, None for None."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
