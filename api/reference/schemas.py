"""What the API answers, as the reference describes it; the routes write the same from `api/views.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from workers.jobs.models import Status


class JobError(BaseModel):
    """Why a job failed."""

    code: str = Field(description="Stable; may be switched on.")
    message: str


class AttemptView(BaseModel):
    """One call of a provider."""

    provider: str
    model: str
    outcome: str = Field(description="`ok`, or the class of the failure.")
    status: int | None = Field(description="The provider's HTTP status, where there was one.")
    latency_ms: float
    cost_usd: float | None = Field(description="Null when unknown.")
    breaker: str | None
    score: float | None


class WaitsView(BaseModel):
    """What a job that was put back waits for."""

    for_: Literal["provider"] = Field(alias="for")
    reason: str | None = Field(
        description="Of each provider of the model: the limit, the breaker or the failure that keeps it from being called."
    )
    until: datetime = Field(description="It is not tried again before.")


class JobSummary(BaseModel):
    """A job in a list."""

    model_config = ConfigDict(title="JobSummary")

    id: str = Field(description="`job_` and 32 hex digits; ids sort by time.")
    object: Literal["job"]
    status: Status
    model: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: JobError | None
    usage: dict[str, Any] | None
    cost_usd: float | None = Field(
        description="What all attempts are known to have cost; null when nothing is known, never 0 for unknown."
    )
    cost_complete: bool = Field(description="The cost is known of every attempt; else cost_usd lacks some, or is null.")
    saved_usd: float | None = Field(
        description="What the cache or a shared call saved; null when its price is unknown."
    )
    saved_ms: float | None = Field(description="How long the call took that did not have to be made.")
    cache: Literal["hit", "joined", "miss"] | None
    attempts: list[AttemptView]
    metadata: dict[str, str]
    retry_of: str | None = Field(description="The dead letter that this job is a retry of.")
    waits: WaitsView | None = Field(description="Why a queued job is not run now; null where it only waits its turn.")


class JobView(JobSummary):
    """A job: one completion, from its submission to its single end."""

    model_config = ConfigDict(title="Job")

    result: dict[str, Any] | None = Field(description="A chat completion as OpenAI shapes it, once completed.")


class JobPage(BaseModel):
    """A page of jobs, newest first."""

    object: Literal["list"]
    data: list[JobSummary]
    has_more: bool
    next: str | None = Field(description="Send it as `after` for the page that follows.")


class DeadLetterView(BaseModel):
    """A job that killed every worker that ran it."""

    id: str
    object: Literal["dead_letter"]
    tenant: str
    model: str
    created_at: datetime
    finished_at: datetime
    error: JobError
    deliveries: int = Field(description="How often it was given to a worker.")
    deaths: int = Field(description="Workers that died running it.")
    attempts: list[AttemptView]
    kept_for_s: float = Field(description="For so long it is kept, with its request, and can be retried.")
    retry_of: str | None
    retried_as: str | None = Field(description="The job that is its retry.")


class DeadLetterPage(BaseModel):
    """A page of dead letters, the latest first."""

    object: Literal["list"]
    data: list[DeadLetterView]
    has_more: bool
    next: str | None = Field(description="Send it as `after` for the page that follows.")


class FieldProblem(BaseModel):
    """One fault of a request."""

    field: str = Field(description="The field's path, dotted; or the name of the header or parameter.")
    pointer: str | None = Field(None, description="The same as a JSON pointer into the body.")
    message: str


class Problem(BaseModel):
    """An error, after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = Field(description="Holds the request's id, as in `X-Request-Id` and in the log.")
    code: str = Field(description="Stable; may be switched on.")
    errors: list[FieldProblem] | None = Field(None, description="Every fault of the request, where there are several.")


class InstanceView(BaseModel):
    """A process of the fleet, and how old what it said last is."""

    instance: str
    kind: str
    age_ms: float
    uptime_ms: float


class FleetMetrics(BaseModel):
    """What the fleet measures of itself: sections hold `fleet` (sums) and `by_instance`; performance is merged."""

    logging: dict[str, Any]
    configuration: dict[str, Any]
    caching: dict[str, Any]
    performance: dict[str, Any]
    instances: list[InstanceView]


class WorkerNumbers(BaseModel):
    """How many processes of a kind live, would do, and are allowed."""

    now: int
    recommended: int
    min: int
    max: int


class ClassLoad(BaseModel):
    """Jobs of one class that wait."""

    ready: int
    oldest_age_s: float


class QueueLoad(ClassLoad):
    """What one kind of worker has to do."""

    kind: str
    running: int
    delayed: int = Field(description="Jobs put back until a provider may be called again.")
    classes: dict[str, ClassLoad]
    workers: WorkerNumbers


class QueueList(BaseModel):
    """The load of every kind of worker."""

    object: Literal["list"]
    data: list[QueueLoad]


class ServiceView(BaseModel):
    """A process in the directory of services."""

    id: str
    name: str
    host: str
    port: int | None
    health_check: str | None
    tags: list[str]
    metadata: dict[str, Any]


class ServiceList(BaseModel):
    """The processes that live."""

    object: Literal["list"]
    data: list[ServiceView]


class EventView(BaseModel):
    """Something that happened in the fleet."""

    id: str
    topic: str = Field(description="Words joined by dots.")
    source: str = Field(description="The process that says so.")
    at: datetime
    data: dict[str, Any]


class EventList(BaseModel):
    """Events, newest first."""

    object: Literal["list"]
    data: list[EventView]


class Health(BaseModel):
    """The process lives."""

    status: Literal["ok"]
    service: str
    version: str


class Ready(BaseModel):
    """Jobs can be taken and waited for."""

    status: Literal["ready"]
    checks: dict[str, str]
