"""A completion as a call: what goes in, what comes out, how it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from infrastructure.core.config_core import Provider, Settings
from infrastructure.core.error_core import ProviderError, RequestError
from workers.jobs.models import Attempt
from workers.providers.library import Facts

NO_CANDIDATE = "no_candidate"
NO_CANDIDATE_AVAILABLE = "no_candidate_available"
DEADLINE_EXCEEDED = "deadline_exceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What to complete. `params` are the request's OpenAI fields; `deadline` is on the monotonic clock, in seconds."""

    model: str
    params: dict[str, Any]
    deadline: float
    job_id: str
    tenant: str
    settings: Settings | None = None
    """The configuration that it is made under; None: the one that holds when it begins."""
    cache: Mapping[str, Any] = field(default_factory=dict)
    """What the request says of the answer cache: `mode`, `ttl` in seconds."""
    job: tuple[str, str] | None = None
    """Id and fence of the job that it is for; None: for no job."""
    earlier: tuple[Attempt, ...] = ()
    """What earlier deliveries of the job tried."""
    age_s: float = 0.0
    """Since the job was submitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A good answer. `result` is a chat completion as OpenAI shapes it; `cost_usd` None when unknown.

    `latency_ms` is the time of the call that gave it, wherever that was. What the cache or a shared call spared is in
    `saved_usd` (None when unknown) and `saved_ms`.
    """

    result: dict[str, Any]
    usage: dict[str, Any] | None
    cost_usd: float | None
    attempts: tuple[Attempt, ...]
    provider: str
    model: str
    latency_ms: float = 0.0
    cache: str = "miss"
    """`hit`: it was there when it was asked for; `joined`: it came of a call that was under way; `miss`."""
    saved_usd: float | None = None
    saved_ms: float | None = None


class CompletionFailed(ProviderError):
    """No candidate gave a good answer.

    `job_code` is stable (`classify.Kind`, `no_candidate`, `no_candidate_available`, `deadline_exceeded`); `message` is
    redacted, for the job's owner only; `cost_usd` is what the attempts cost, None when unknown.
    """

    title: ClassVar[str] = "No provider gave a usable answer"

    def __init__(
        self,
        message: str,
        *,
        job_code: str,
        attempts: tuple[Attempt, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.job_code = job_code
        self.attempts = attempts
        self.cost_usd = failed_cost(attempts)


class CallerFault(RequestError, CompletionFailed):
    """The fault is the caller's (a bad parameter, too long a prompt, refused content): no error of a provider."""

    code = CompletionFailed.code
    status = 422
    title = "The request cannot be answered"
    retryable = False


class PutBack(ProviderError):
    """No candidate may be called for now; the job is to wait `wait_ms` and be claimed again, at no cost of a delivery."""

    title: ClassVar[str] = "Every provider of this model is cooling down"

    def __init__(self, message: str, *, wait_ms: int, attempts: tuple[Attempt, ...] = ()) -> None:
        super().__init__(message, retry_after_s=wait_ms / 1000)
        self.job_code = NO_CANDIDATE_AVAILABLE
        self.wait_ms = wait_ms
        self.attempts = attempts


class JobGone(Exception):
    """The job that a call was for is not ours any more; nothing was called for it, and nothing may be written."""


@dataclass(frozen=True, slots=True)
class Target:
    """A candidate: provider by its name in the configuration, and model."""

    name: str
    model: str
    provider: Provider
    facts: Facts

    @property
    def key(self) -> tuple[str, str]:
        """Return what it is known by: provider and model."""
        return self.name, self.model


def answered_cost(attempts: tuple[Attempt, ...]) -> float | None:
    """Return the cost of attempts of which the last gave the answer: unknown if that one is, else all that is known."""
    if attempts[-1].cost_usd is None:
        return None
    return sum(attempt.cost_usd or 0.0 for attempt in attempts)


def failed_cost(attempts: tuple[Attempt, ...]) -> float | None:
    """Return the cost of attempts that all failed: what is known of it, None when that is nothing."""
    known = sum(attempt.cost_usd or 0.0 for attempt in attempts)
    if known == 0 and any(attempt.cost_usd is None for attempt in attempts):
        return None
    return known
