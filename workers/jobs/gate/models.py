"""What passes the gate: what is asked before a provider call, what is told after it, and how a candidate stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    """What the end of a call says about the provider; `classify.Kind` says what it means for the job."""

    GOOD = "good"
    """A good answer: closes a breaker."""
    ALIVE = "alive"
    """Answered, and the fault is the caller's: neither closes nor counts."""
    FAILED = "failed"
    """Unavailable, cut off, too late: counted."""
    BAD = "bad"
    """An answer that is none, through no fault of the caller: counted, as quality."""
    THROTTLED = "throttled"
    """Asked to slow down: no failure, but nobody calls before Retry-After."""
    ACCOUNT = "account"
    """Key or money: opens the breaker of the whole account at once."""
    MODEL = "model"
    """This model is not for us (403, 404): opens the breaker of provider and model at once."""
    STOPPED = "stopped"
    """Ended by us before it was answered: says nothing."""


NOT_CALLED = "not_called"
"""Outcome of an attempt that was let through and never made: it is closed, and nothing is booked."""
STOPPED = "stopped"
"""Outcome of an attempt that we ended before it was answered: for a job that was cancelled, is late, or is handed back."""


class Breaker(StrEnum):
    """States of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Refusal(StrEnum):
    """Why a call may not be made now."""

    OPEN = "breaker_open"
    THROTTLED = "throttled"
    FULL = "concurrency"
    RATE = "rate_limit"
    STALE = "stale"
    """The job is not ours any more: not to be called for at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of a provider account. None: not set."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a provider's answer headers said of its limits for us (`x-ratelimit-*`, `anthropic-ratelimit-*`).

    `…_reset_ms` from now on. None: not said.
    """

    requests_limit: int | None = None
    requests_left: int | None = None
    requests_reset_ms: int | None = None
    tokens_limit: int | None = None
    tokens_left: int | None = None
    tokens_reset_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A call about to be made. `attempt` is unique to it; `job` is (id, fence) of the job that it is for, if any."""

    attempt: str
    provider: str
    model: str
    tenant: str
    timeout_ms: int
    job: tuple[str, str] | None = None
    tokens: int = 0
    """Estimate of prompt and answer together, for the limit of tokens."""
    upper_usd: float | None = None
    """The most that it can cost; None when unknown. Booked beside the unknown cost when the caller dies."""
    limits: Limits = field(default_factory=Limits)
    probe: bool = False
    """A health probe: booked apart from tenants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A call that ended, or (`final` False) one that has been silent for too long and still may."""

    attempt: str
    provider: str
    model: str
    tenant: str
    verdict: Verdict
    outcome: str
    """`ok`, or the class of failure as attempts show it."""
    status: int | None
    latency_ms: float
    epochs: tuple[int, int]
    """As the admission gave them."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    """None when unknown, 0 when surely free."""
    upper_usd: float | None = None
    """The most that it may have cost where that is not known; None when nobody knows that either."""
    retry_after_ms: int | None = None
    rates: Rates | None = None
    probe: bool = False
    final: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """How a candidate stands, for the whole fleet, by Redis time. Ages and waits in ms; None: never, or unknown.

    `success` (0 to 1) and `throttle` (share of 429s, 0 to 1) are smoothed; `latency_ms` is a peak-EWMA of good answers.
    """

    provider: str
    model: str
    breaker: Breaker = Breaker.CLOSED
    account: Breaker = Breaker.CLOSED
    reason: str = ""
    opened_ago_ms: int | None = None
    next_probe_ms: int | None = None
    throttled_ms: int = 0
    """For how long nobody may call, because of a 429."""
    success: float = 1.0
    throttle: float = 0.0
    latency_ms: float | None = None
    calls: int = 0
    """In the window of 30 s."""
    failures: int = 0
    in_flight: int = 0
    concurrency_limit: float | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    last_error: str | None = None
    last_error_ago_ms: int | None = None
    heard_ago_ms: int | None = None
    """Since it last answered well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The answer to a `Begin`. Refused: `wait_ms` until it may be asked again (0: unknown, ask another)."""

    refusal: Refusal | None
    state: TargetState
    wait_ms: int = 0
    probing: bool = False
    """This call holds the only permit of a half-open breaker."""
    epochs: tuple[int, int] = (0, 0)

    @property
    def admitted(self) -> bool:
        """Say whether the call may be made."""
        return self.refusal is None


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChange:
    """A breaker went from one state to another. `reason`: class of the failure that opened it."""

    provider: str
    model: str | None
    """None: the breaker of the whole account."""
    before: Breaker
    state: Breaker
    reason: str = ""


Changed = Callable[[BreakerChange], None]
"""Hears of a change that a call or a check of this process has made: once in the fleet."""


def unheard(_: BreakerChange) -> None:
    """Tell nobody."""


class Gate(Protocol):
    """Lets calls through, one decision a call, and learns from how they end. Used on one event loop."""

    async def begin(self, asked: Begin) -> Admission:
        """Decide on a call, and record it as open when it is let through. Never raises."""

    async def end(self, ended: End) -> TargetState:
        """Book a call's end once, and learn from it. Never raises; shielded by the caller against its own cancel."""

    async def states(self) -> tuple[TargetState, ...]:
        """Return how every candidate stands that was called in the last hour.

        Raises:
            StoreError: only where the state is shared, and the store does not answer.
        """
