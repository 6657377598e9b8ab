"""Sections of the configuration: cache, how providers are chosen and spared, thresholds, checks, the surroundings."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from infrastructure.core.config_core.section import Section

CacheMode = Literal["use", "refresh", "off", "auto"]
CacheSeconds = Annotated[int, Field(ge=1, le=604_800)]


class Cache(Section):
    """The cache in two tiers: in the process, and in Redis."""

    enabled: bool = True
    """False: nothing is kept or read, in neither tier."""
    ttl: CacheSeconds = 300
    """Seconds that an entry is kept when nothing else is said; at most a week."""
    redis_url: SecretStr | None = None
    """The second tier's server, where it is not the job store's."""
    l1_entries: int = Field(10_000, ge=1, le=10_000_000)
    """Most entries of the first tier in one process."""
    l1_bytes: int = Field(64_000_000, ge=65_536, le=64_000_000_000)
    """Most bytes of the first tier in one process."""
    dir: str = ""
    """Folder where libraries keep files that may be lost (`CACHE_DIR`), made where it is missing; empty: where they choose."""
    mode: CacheMode = "use"
    """For jobs that do not say: use (read and keep), refresh (call, then keep), off, or auto: use when `temperature` is 0
    or `seed` is set, so that equal requests stay separate samples."""
    openai_mode: CacheMode = "auto"
    """The same for requests that come in by the OpenAI API."""


class Selection(Section):
    """How a candidate is chosen among those of one priority: by the expected cost of one good answer."""

    exploration: float = Field(0.015, ge=0, le=0.5)
    """Share of calls that go to a candidate drawn without regard to its score, so that a bad one is seen to mend."""
    usd_per_second: float = Field(0.0005, ge=0, le=1_000)
    """What a second of waiting is worth; 0: only the price counts."""
    refused_content: Literal["fail", "next"] = "fail"
    """When a provider refuses a prompt for its content: fail the job, or ask the next candidate."""


class Breakers(Section):
    """When a provider is left alone, and how it is tried again."""

    failures: int = Field(5, ge=1, le=1_000)
    """Failures in a row that open a breaker."""
    ratio: float = Field(0.5, gt=0, le=1)
    """Share of failed calls in the window that opens it."""
    min_calls: int = Field(20, ge=1, le=1_000_000)
    """Calls in the window below which the share says nothing."""
    window_s: float = Field(30, ge=1, le=600)
    probe_s: float = Field(10, ge=0.05, le=3_600)
    """From opening to the one call that may try again, 20 % more or less; the first pause after an account error."""
    max_pause_s: float = Field(300, ge=0.05, le=86_400)
    """Longest pause after account errors, which doubles from `probe_s` on."""
    silence_factor: float = Field(3, ge=1, le=100)
    """A call that takes so many times the 95th percentile, while its provider answers nothing, is a failure."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_pause_s < self.probe_s:
            raise ValueError(
                f"expected max_pause_s to be at least probe_s, got {self.max_pause_s} below {self.probe_s}"
            )
        return self


class Retries(Section):
    """The retry budget of one process, of each provider and over all: an empty one makes a job wait for its next call."""

    tokens: int = Field(500, ge=1, le=1_000_000)
    """What the budget holds; a good answer gives back what its retry took."""
    cost: int = Field(14, ge=0, le=1_000_000)
    """Tokens that a retry takes."""
    throttle_cost: int = Field(5, ge=0, le=1_000_000)
    """Tokens that a retry after a 429 takes."""


class Flights(Section):
    """Equal requests under way at one time share one provider call."""

    lease_s: float = Field(10, ge=0.5, le=300)
    """Silence after which a flight's leader is held to be dead, and one who waits takes its place."""
    kept_s: float = Field(30, ge=0, le=3_600)
    """How long an answer is shared after it came, even where the cache may not keep it."""


class CostTracking(Section):
    """Whether calls are priced."""

    enabled: bool = True
    """False: the cost of a job is unknown, and no price is looked up."""


class Resources(Section):
    """Thresholds above which performance tracking alerts; null: none. Figures are of the last minute."""

    response_time_p95_ms: float | None = Field(30_000, gt=0, le=86_400_000)
    """95th percentile of an operation."""
    error_rate: float | None = Field(0.2, gt=0, le=1)
    """Failed operations, of all of one name."""
    cpu_percent: float | None = Field(95, gt=0, le=25_600)
    """Of one core: 100 is one core in use."""
    memory_percent: float | None = Field(90, gt=0, le=100)
    """Of the machine's memory."""
    concurrent_operations: int | None = Field(None, ge=1, le=1_000_000)
    """Operations of one name at a time."""


class Errors(Section):
    """When errors are told, and to whom."""

    alert_count: int = Field(20, ge=1, le=10_000)
    """So many errors of one class within `alert_window_s` are an alert; callers' own faults are not counted."""
    alert_window_s: float = Field(60, ge=1, le=86_400)
    sentry_dsn: SecretStr | None = None
    """Where errors are reported to, with the extra `sentry` installed; class, code, place and ids, never a text."""


class Health(Section):
    """Checks of the service's parts and of the providers."""

    interval_s: float = Field(30, ge=5, le=3_600)
    """From check to check; a result counts as fresh for as long."""
    timeout_s: float = Field(10, ge=0.1, le=300)
    """Longest that one check may take."""


class Database(Section):
    """A database beside Redis. The service itself has none; it is for what is built on this infrastructure."""

    url: SecretStr | None = None
    password: SecretStr | None = None
    """Where it does not stand in the URL: docker secret `database_password`."""


class Webhooks(Section):
    """Events to tenants' endpoints when their jobs end."""

    concurrency: int = Field(64, ge=1, le=10_000)
    """Sends at a time in one upkeep process."""
    per_endpoint: int = Field(4, ge=1, le=1_000)
    """Sends at a time to one endpoint, of all processes together: a slow one holds up no other."""
    per_tenant: int = Field(16, ge=1, le=10_000)
    """The same to all endpoints of one tenant."""
    timeout_s: float = Field(15, ge=0.1, le=60)
    """Longest that one attempt may take, from the look-up of the name to the head of the answer."""
    overlap_s: float = Field(86_400, ge=0, le=2_592_000)
    """How long the old secret signs beside the new one after a rotation."""
    disable_after_s: float = Field(432_000, ge=60, le=2_592_000)
    """An endpoint that has taken nothing for so long, in ten attempts or more, is disabled."""
    most_endpoints: int = Field(50, ge=1, le=10_000)
    """Of one tenant."""
    most_pending: int = Field(100_000, ge=1, le=100_000_000)
    """Deliveries that may wait for one endpoint; beyond it jobs that name it are refused."""
    ports: tuple[Annotated[int, Field(ge=1, le=65_535)], ...] = (443, 8443)
    """Ports that may be called; in a variable with commas between them."""
    allow_loopback: bool = False
    """True: endpoints on this machine may be called too, at any port and without TLS. For development and tests."""

    @field_validator("ports", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return value.split(",") if isinstance(value, str) else value
