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

    requests_per_minute: int | None = Field(description="Calls begun in a minute.")
    tokens_per_minute: int | None = Field(description="Prompt and answer together.")
    concurrency: float | None = Field(description="Calls in flight, of the whole fleet.")


class AccountView(BaseModel):
    """The breaker of a whole provider account."""

    breaker: Breaker = Field(description="Opened by a wrong key or an empty purse, and by a failed health check.")
    reason: str | None = Field(description="Class of the failure that opened it.")
    opened_ago_s: float | None
    next_probe_s: float | None = Field(description="Until one call may try again; null: closed.")


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

    model: str = Field(description="As the provider calls it.")
    score: float = Field(description="Expected cost of one good answer in USD: the lower one is preferred.")
    score_parts: ScoreParts
    breaker: Breaker = Field(
        description="Of this model at this provider: open after failures, half_open while one call tries."
    )
    account: Breaker = Field(description="The account's breaker: both have to be closed for all to pass.")
    reason: str | None = Field(description="Class of the failure that opened the breaker.")
    opened_ago_s: float | None
    next_probe_s: float | None = Field(description="Until one call may try again; null: closed.")
    throttled_s: float = Field(description="For how long nobody calls, because of a 429.")
    success: float | None = Field(description="Share of good answers, smoothed; null: not called in the last hour.")
    latency_ms: float | None = Field(description="Of good answers, smoothed, quick to rise; null: not known.")
    window: WindowView
    in_flight: int = Field(description="Calls under way, of the whole fleet.")
    learnt_limits: LimitsView = Field(description="What its answers told of limits, and what it was found to stand.")
    price: PriceView | None = Field(description="Null: unknown.")
    last_error: str | None = Field(description="Class of the last failure.")
    last_error_ago_s: float | None
    heard_ago_s: float | None = Field(description="Since it last answered well.")


class ProviderView(BaseModel):
    """A configured provider."""

    name: str = Field(description="In the configuration; stands before the `/` of `provider/model`.")
    kind: str = Field(description="Its wire format: openai, anthropic, google, deepseek.")
    in_use: bool = Field(description="Enabled, and with a key where it needs one.")
    unused_because: str | None
    priority: int = Field(description="Tier: all of a lower number are asked before any of a higher one.")
    timeout_s: float = Field(description="Longest that a call may take.")
    limits: LimitsView = Field(description="As configured, for the whole fleet.")
    health: ProviderHealth
    account: AccountView
    models_left_out: int = Field(description="Models called in the last hour, by names of callers, that are not shown.")
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
