"""What the API answers of providers and costs, as the reference describes it; `api/figures` writes the same."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from workers.jobs.gate.models import Breaker
from workers.jobs.health import Standing


class ProviderHealth(BaseModel):
    """A provider's last check."""

    provider: str
    status: Standing
    reachable: bool | None = Field(description="Its list of models answers.")
    generates: bool | None = Field(description="A tiny completion came; null: not tried.")
    reason: str | None = Field(description="Class of what is wrong.")
    response_time_ms: float | None
    success_rate: float | None = Field(description="Of the calls of the last 30 s, 0 to 1; null: there were none.")
    age_s: float | None = Field(description="Since the check; null: there was none within 5 min.")
    fresh: bool


class ProviderHealthList(BaseModel):
    """The last checks of all providers in use. `fresh`: all are."""

    object: Literal["list"]
    fresh: bool
    data: list[ProviderHealth]


class LimitsView(BaseModel):
    """Limits for calls; null: none is known."""

    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency: float | None


class AccountView(BaseModel):
    """The breaker of a whole provider account."""

    breaker: Breaker
    reason: str | None
    opened_ago_s: float | None
    next_probe_s: float | None


class ScoreParts(BaseModel):
    """score = (price_usd + waiting_usd) * (1 + throttle) / success."""

    price_usd: float = Field(description="Of a call with 1,000 tokens in and 256 out; a usual one where it is unknown.")
    waiting_usd: float = Field(description="What the time until the answer is worth.")
    throttle: float = Field(description="Share of 429s.")
    success: float = Field(description="Share of good answers.")


class WindowView(BaseModel):
    """Calls of the last 30 s that the breaker goes by."""

    calls: int
    failures: int


class PriceView(BaseModel):
    """USD for a million tokens."""

    input: float
    output: float


class ModelView(BaseModel):
    """A model of a provider: of the configuration, or called in the last hour."""

    model: str
    score: float = Field(description="Expected cost of one good answer in USD: the lower one is preferred.")
    score_parts: ScoreParts
    breaker: Breaker
    account: Breaker = Field(description="The account's breaker: both have to be closed for all to pass.")
    reason: str | None
    opened_ago_s: float | None
    next_probe_s: float | None = Field(description="Until one call may try again; null: closed.")
    throttled_s: float = Field(description="For how long nobody calls, because of a 429.")
    success: float | None
    latency_ms: float | None
    window: WindowView
    in_flight: int
    learnt_limits: LimitsView
    price: PriceView | None = Field(description="Null: unknown.")
    last_error: str | None
    last_error_ago_s: float | None
    heard_ago_s: float | None = Field(description="Since it last answered well.")


class ProviderView(BaseModel):
    """A configured provider."""

    name: str
    kind: str
    in_use: bool
    unused_because: str | None
    priority: int
    timeout_s: float
    limits: LimitsView
    health: ProviderHealth
    account: AccountView
    models: list[ModelView]


class ProviderList(BaseModel):
    """All configured providers."""

    object: Literal["list"]
    data: list[ProviderView]


class CostSum(BaseModel):
    """What calls came to."""

    calls: int
    failed: int = Field(description="Calls without a good answer; an error that a provider answered costs nothing.")
    lost: int = Field(description="Calls of workers that died; part of maybe_billed.")
    unpriced: int = Field(description="Answered calls of which nobody has a price; not in cost_usd.")
    maybe_billed: int = Field(
        description="Calls that may have been billed: no answer in time, cut, stopped, lost; not in cost_usd."
    )
    prompt_tokens: int
    completion_tokens: int
    hits: int = Field(description="Answers from the cache.")
    joined: int = Field(description="Answers shared with a job that paid.")
    cost_usd: float | None = Field(description="What is known; null when nothing is.")
    saved_usd: float
    lost_upper_usd: float | None = Field(description="The most that lost calls cost; null when that is not known.")
    maybe_upper_usd: float | None = Field(
        description="The most that maybe_billed calls cost; null when that is not known."
    )


class CostRowView(CostSum):
    """A row: of a day, a tenant, a provider, or a model (`provider/model`)."""

    day: str | None = None
    tenant: str | None = None
    provider: str | None = None
    model: str | None = None


class CostTable(BaseModel):
    """Costs. `probes`: of health checks, which no row has; for operators."""

    object: Literal["list"]
    by: Literal["day", "tenant", "provider", "model"]
    days: int
    data: list[CostRowView]
    totals: CostSum
    probes: CostSum | None = None
