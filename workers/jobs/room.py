"""Room in line: the limits that a submit is held against, and what a refusal is explained by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from infrastructure.core.config_core import Settings
from workers.jobs.models import Priority


class Reason(StrEnum):
    """Why a job must not enter; the values are the stable codes of the errors that tell it."""

    TENANT_FULL = "tenant_queue_full"
    FULL = "queue_full"
    TOO_SLOW = "queue_too_slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Most jobs that may wait, of one tenant and of all; None: no limit.

    `reserve` is the share of `of_all` that is kept for high priority; `age_s` the longest that a new job may have to
    wait; it is never let in where it would wait for half of its own deadline.
    """

    of_tenant: int | None = None
    of_all: int | None = None
    reserve: float = 0.0
    age_s: float | None = None

    @property
    def of_others(self) -> int | None:
        """Return the most jobs that may wait for a job below high priority to enter; one at least."""
        return None if self.of_all is None else max(1, self.of_all - int(self.of_all * self.reserve))

    def arguments(self) -> tuple[int, int, int, int]:
        """Return the limits as the scripts take them, 0 for none."""
        age_ms = 0 if self.age_s is None else max(1, round(1000 * self.age_s))
        return self.of_tenant or 0, self.of_all or 0, self.of_others or 0, age_ms


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a refusal is explained by: the tenant's jobs that wait, and jobs that end in a second, its own and of all."""

    waiting: int
    own_per_s: float
    all_per_s: float

    @classmethod
    def read(cls, raw: Sequence[int]) -> Figures:
        """Return what the scripts answer: waiting; own ended, within ms; all ended, within ms."""
        waiting, own, own_ms, everybody, all_ms = raw
        return cls(waiting=waiting, own_per_s=1000 * own / own_ms, all_per_s=1000 * everybody / all_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A job that was not written, for want of room."""

    reason: Reason
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Whether jobs of a tenant could enter at this moment: by priority why not, None where they could.

    `known`: the idempotency key has made a job, and its repeat is never refused.
    """

    known: bool
    refusals: Mapping[Priority, Reason | None]
    figures: Figures


def limits_of(settings: Settings, *, of_tenant: int | None = None) -> Limits:
    """Return the configured limits; `of_tenant` is one that a caller's key has of its own."""
    limits = settings.limits
    return Limits(
        of_tenant=of_tenant or limits.queued_per_tenant,
        of_all=limits.queued,
        reserve=limits.high_reserve,
        age_s=limits.queue_age_s,
    )
