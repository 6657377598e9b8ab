"""Calls and their ends as the gate's scripts read them, and what the scripts answer as the values of `models`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from workers.jobs.gate.models import Admission, Begin, Breaker, BreakerChange, End, Refusal, TargetState
from workers.jobs.keys import part

Row = Sequence[Any]
MOST_CHARACTERS = 64
_BREAKERS = {each.value: each for each in Breaker}
_REFUSALS = {each.value: each for each in Refusal}


def begin_item(asked: Begin) -> dict[str, Any]:
    """Return a call about to be made; what is not known is left out."""
    limits = asked.limits
    item: dict[str, Any] = {
        "attempt": asked.attempt,
        "provider": asked.provider,
        "model": asked.model,
        "p": part(asked.provider),
        "m": part(asked.model),
        "tenant": part(asked.tenant),
        "timeout": asked.timeout_ms,
        "tokens": asked.tokens,
    }
    if asked.job is not None:
        item["job"], item["fence"] = asked.job
    if asked.upper_usd is not None:
        item["upper"] = asked.upper_usd
    if limits.requests_per_minute is not None:
        item["rpm"] = limits.requests_per_minute
    if limits.tokens_per_minute is not None:
        item["tpm"] = limits.tokens_per_minute
    if limits.concurrency is not None:
        item["most"] = limits.concurrency
    if asked.probe:
        item["probe"] = 1
    return item


def end_item(ended: End, *, apart: bool = False) -> dict[str, Any]:
    """Return a call that ended; `apart`: it began while Redis was away."""
    item: dict[str, Any] = {
        "attempt": ended.attempt,
        "provider": ended.provider,
        "model": ended.model,
        "p": part(ended.provider),
        "m": part(ended.model),
        "tenant": part(ended.tenant),
        "verdict": ended.verdict.value,
        "outcome": ended.outcome[:MOST_CHARACTERS],
        "latency": ended.latency_ms,
    }
    known = {
        "prompt": ended.prompt_tokens,
        "completion": ended.completion_tokens,
        "cost": ended.cost_usd,
        "upper": ended.upper_usd,
        "retry_after": ended.retry_after_ms,
    }
    item |= {name: value for name, value in known.items() if value is not None}
    if ended.rates is not None:
        item["rates"] = {name: value for name, value in asdict(ended.rates).items() if value is not None}
    if ended.probe:
        item["probe"] = 1
    if not ended.final:
        item["silent"] = 1
    if apart:
        item["apart"] = 1
    return item


def state(row: Row) -> TargetState:
    """Return how a target stands from a script's list."""
    (provider, model, breaker, account, reason, opened, next_probe, throttled, success, throttle, latency, calls, failures,
     in_flight, limit, requests, tokens, error, error_ago, heard) = row  # fmt: skip
    return TargetState(
        provider=provider,
        model=model,
        breaker=_BREAKERS[breaker],
        account=_BREAKERS[account],
        reason=reason,
        opened_ago_ms=_whole(opened),
        next_probe_ms=_whole(next_probe),
        throttled_ms=int(throttled),
        success=success,
        throttle=throttle,
        latency_ms=latency,
        calls=int(calls),
        failures=int(failures),
        in_flight=int(in_flight),
        concurrency_limit=limit,
        requests_per_minute=_whole(requests),
        tokens_per_minute=_whole(tokens),
        last_error=error,
        last_error_ago_ms=_whole(error_ago),
        heard_ago_ms=_whole(heard),
    )


def admission(row: Row, states: Sequence[TargetState]) -> Admission:
    """Return the answer to a call from a script's list, and the states that it points into."""
    refusal, wait_ms, probing, account_epoch, target_epoch, place = row
    return Admission(
        refusal=None if refusal is None else _REFUSALS[refusal],
        state=states[int(place)],
        wait_ms=int(wait_ms),
        probing=bool(probing),
        epochs=(int(account_epoch), int(target_epoch)),
    )


def change(row: Row) -> BreakerChange:
    """Return a change of a breaker from a script's list."""
    provider, model, before, after, reason = row
    return BreakerChange(
        provider=provider, model=model or None, before=_BREAKERS[before], state=_BREAKERS[after], reason=reason
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
