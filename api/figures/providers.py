"""The table of providers: how each stands, what its models cost, how the choice between them is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infrastructure.core.config_core import Provider, Settings
from workers.jobs.gate.accounts import AccountState
from workers.jobs.gate.models import TargetState
from workers.jobs.gate.score import expected_cost
from workers.jobs.health import Health, Standing
from workers.jobs.prices import Key, TokenPrice
from workers.jobs.routing import why_unused as why

TYPICAL_TOKENS = (1_000, 256)
"""Prompt and answer of the call that scores are compared for; a job's own are for its own tokens."""
MILLION = 1_000_000
DIGITS = 9
MOST_CALLED = 50
"""Models of a provider that are shown beyond the configured ones: their names may come from callers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the fleet knows at one moment."""

    states: Sequence[TargetState] = ()
    health: Mapping[str, Health] = field(default_factory=dict)
    accounts: Mapping[str, AccountState] = field(default_factory=dict)
    prices: Mapping[Key, TokenPrice | None] = field(default_factory=dict)


def provider_json(name: str, settings: Settings, known: Known) -> dict[str, Any]:
    """Return a provider with its models: those of the configuration, and those that were called in the last hour."""
    provider = settings.providers[name]
    limits, account = provider.limits, known.accounts.get(name, AccountState())
    states = {state.model: state for state in known.states if state.provider == name}
    configured = _configured(name, settings)
    called = sorted(states.keys() - set(configured), key=lambda model: (-states[model].calls, model))
    models = list(dict.fromkeys([*configured, *sorted(called[:MOST_CALLED])]))
    return {
        "name": name,
        "kind": provider.kind.value,
        "in_use": name in settings.in_use(),
        "unused_because": why_unused(name, settings),
        "priority": provider.priority,
        "timeout_s": provider.timeout_s,
        "limits": {
            "requests_per_minute": limits.requests_per_minute,
            "tokens_per_minute": limits.tokens_per_minute,
            "concurrency": limits.concurrency,
        },
        "health": health_json(known.health.get(name) or _unknown(name), settings),
        "account": {
            "breaker": account.breaker.value,
            "reason": account.reason or None,
            "opened_ago_s": _seconds(account.opened_ago_ms),
            "next_probe_s": _seconds(account.next_probe_ms),
        },
        "models_left_out": max(0, len(called) - MOST_CALLED),
        "models": [_model_json(name, model, states.get(model), settings, known) for model in models],
    }


def health_json(health: Health, settings: Settings) -> dict[str, Any]:
    """Return a provider's health with its age, and whether it counts as fresh."""
    return {
        "provider": health.provider,
        "status": health.status.value,
        "reachable": health.reachable,
        "generates": health.generates,
        "reason": health.reason or None,
        "response_time_ms": health.response_time_ms,
        "success_rate": health.success_rate,
        "age_s": _seconds(health.age_ms),
        "fresh": is_fresh(health, settings),
    }


def is_fresh(health: Health, settings: Settings) -> bool:
    """Say whether a check is young enough to go by."""
    return health.age_ms is not None and health.age_ms <= 1_000 * settings.health.interval_s


def why_unused(name: str, settings: Settings) -> str | None:
    """Return why a provider is not in use, None where it is."""
    if name in settings.in_use():
        return None
    said = why(settings, name)
    return f"no key: {said}" if said.startswith("set ") else said


def _model_json(name: str, model: str, state: TargetState | None, settings: Settings, known: Known) -> dict[str, Any]:
    called, at = state is not None, state or TargetState(provider=name, model=model)
    price = _price(settings.providers[name], model, known.prices.get((name, model)))
    score = expected_cost(at, price_usd=_typical_usd(price), usd_per_second=settings.selection.usd_per_second)
    return {
        "model": model,
        "score": round(score.value, DIGITS),
        "score_parts": {
            "price_usd": round(score.parts.price_usd, DIGITS),
            "waiting_usd": round(score.parts.waiting_usd, DIGITS),
            "throttle": round(score.parts.throttle, 4),
            "success": round(score.parts.success, 4),
        },
        "breaker": at.breaker.value,
        "account": at.account.value,
        "reason": at.reason or None,
        "opened_ago_s": _seconds(at.opened_ago_ms),
        "next_probe_s": _seconds(at.next_probe_ms),
        "throttled_s": round(at.throttled_ms / 1000, 1),
        "success": round(at.success, 4) if called else None,
        "latency_ms": None if at.latency_ms is None else round(at.latency_ms, 1),
        "window": {"calls": at.calls, "failures": at.failures},
        "in_flight": at.in_flight,
        "learnt_limits": {
            "concurrency": None if at.concurrency_limit is None else round(at.concurrency_limit, 1),
            "requests_per_minute": at.requests_per_minute,
            "tokens_per_minute": at.tokens_per_minute,
        },
        "price": None if price is None else {
            "input": round(price.input_usd * MILLION, 6), "output": round(price.output_usd * MILLION, 6)
        },
        "last_error": at.last_error,
        "last_error_ago_s": _seconds(at.last_error_ago_ms),
        "heard_ago_s": _seconds(at.heard_ago_ms),
    }  # fmt: skip


def _price(provider: Provider, model: str, told: TokenPrice | None) -> TokenPrice | None:
    """Return the price of a token: the configuration's, else what workers have told."""
    if price := provider.prices.get(model):
        return TokenPrice(price.input / MILLION, price.output / MILLION)
    return told


def _typical_usd(price: TokenPrice | None) -> float | None:
    if price is None:
        return None
    return TYPICAL_TOKENS[0] * price.input_usd + TYPICAL_TOKENS[1] * price.output_usd


def _configured(name: str, settings: Settings) -> list[str]:
    entries = (entry.partition("/") for entries in settings.models.values() for entry in entries)
    return [model for provider, _, model in entries if provider == name]


def _unknown(name: str) -> Health:
    return Health(provider=name, status=Standing.UNKNOWN)


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else round(ms / 1000, 1)
