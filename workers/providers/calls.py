"""A completion as a call: what goes in, what comes out, how it fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from infrastructure.core.config_core import Provider, Settings
from infrastructure.core.error_core import ProviderError, RequestError
from workers.jobs.models import Attempt, Slot
from workers.providers.library import Facts
from workers.providers.pricing import PER_MILLION

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
    """No candidate may be called for now; the job is to wait `wait_ms` and be claimed again, at no cost of a delivery.

    Where one of `slots` becomes free it is claimed before.
    """

    title: ClassVar[str] = "No provider of this model may be called now"

    def __init__(
        self, reason: str, *, wait_ms: int, attempts: tuple[Attempt, ...] = (), slots: tuple[Slot, ...] = ()
    ) -> None:
        super().__init__(f"no provider of this model may be called now: {reason}", retry_after_s=wait_ms / 1000)
        self.reason = reason
        self.job_code = NO_CANDIDATE_AVAILABLE
        self.wait_ms = wait_ms
        self.attempts = attempts
        self.slots = slots


class JobGone(Exception):
    """The job that a call was for is not ours any more; nothing was called for it, and nothing may be written."""


@dataclass(frozen=True, slots=True)
class Target:
    """A candidate: provider by its name in the configuration, and model. Made once a configuration, see `route`."""

    name: str
    model: str
    provider: Provider
    facts: Facts
    key: tuple[str, str] = field(init=False)
    """What it is known by: provider and model."""
    prices: tuple[float, float] | None = field(init=False)
    """USD for a token in and out: the configuration's, else LiteLLM's; None when neither knows."""

    def __post_init__(self) -> None:
        """Work out what every call asks for."""
        object.__setattr__(self, "key", (self.name, self.model))
        object.__setattr__(self, "prices", self._prices())

    def _prices(self) -> tuple[float, float] | None:
        if price := self.provider.prices.get(self.model):
            return price.input / PER_MILLION, price.output / PER_MILLION
        told = self.facts.input_usd, self.facts.output_usd
        return None if told[0] is None or told[1] is None else (told[0], told[1])


def answered_cost(attempts: tuple[Attempt, ...]) -> float | None:
    """Return the cost of attempts of which the last gave the answer: unknown if that one is, else all that is known."""
    return None if attempts[-1].cost_usd is None else failed_cost(attempts)


def failed_cost(attempts: tuple[Attempt, ...]) -> float | None:
    """Return the cost of attempts that all failed: what is known of it, None when that is nothing."""
    return known_cost(attempt.cost_usd for attempt in attempts)


def known_cost(costs: Iterable[float | None]) -> float | None:
    """Return what is known of several costs; None, never 0, when nothing is known but that there may be one."""
    costs = tuple(costs)
    known = sum(cost or 0.0 for cost in costs)
    return None if known == 0 and None in costs else known
