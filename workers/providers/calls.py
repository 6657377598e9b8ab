"""A completion as a call: what goes in, what comes out, how it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from infrastructure.core.config_core import Provider, Settings
from infrastructure.core.error_core import ProviderError
from workers.jobs.models import Attempt
from workers.providers.library import Endpoint

NO_CANDIDATE = "no_candidate"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A good answer. `result` is a chat completion as OpenAI shapes it; `cost_usd` None when unknown."""

    result: dict[str, Any]
    usage: dict[str, Any] | None
    cost_usd: float | None
    attempts: tuple[Attempt, ...]
    provider: str
    model: str


class CompletionFailed(ProviderError):
    """No candidate gave a good answer.

    `job_code` is stable (`classify.Kind`, `no_candidate`, `deadline_exceeded`); `message` is redacted, for the job's
    owner only; `cost_usd` is what the attempts cost, None when unknown.
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


@dataclass(frozen=True, slots=True)
class Target:
    """A candidate with its account."""

    name: str
    """Of the provider, in the configuration."""
    model: str
    provider: Provider
    endpoint: Endpoint
    """Where its calls go."""


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
