"""Sections of the configuration that describe the surroundings: cache, database, other services, thresholds, checks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from infrastructure.core.config_core.section import Section

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
