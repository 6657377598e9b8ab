"""What a round of checks has to look at, and what its findings say of a provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infrastructure.core.config_core import Settings
from workers.jobs.gate.models import Breaker, TargetState
from workers.jobs.health import Health, Standing
from workers.providers.health.reach import Reach
from workers.queues import HEALTH_S

UNHEARD_MS = 300_000  # a provider that nobody heard for so long is asked to generate
KNOWN_MS = 3_600_000
MOST_GENERATIONS = 4  # of one provider in a round
BAD = frozenset({Standing.DOWN, Standing.REFUSED})
TROUBLED = BAD | {Standing.DEGRADED}
MODEL_FAULTS = frozenset({"", "provider_permission", "model_unavailable"})
ACCOUNT_FAULTS = frozenset({"provider_authentication", "provider_quota"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A provider to be checked. `models`: to be had generate, should it be reachable."""

    provider: str
    before: Health
    states: Sequence[TargetState]
    models: tuple[str, ...]
    heard: bool
    """It answered a call well within `health.interval_s`."""


def plan(
    name: str, before: Health, states: Sequence[TargetState], settings: Settings, *, watched_ms: float
) -> Plan | None:
    """Return what there is to check of a provider now; None while what is known is fresh.

    `states` are those of the provider, `watched_ms` is for how long anybody would have known of calls that it answered.
    """
    configured = _configured(name, settings)
    # What a caller made up and no one ever answered to is nobody's fault, and not ours to ask for again.
    real = [state for state in states if state.model in configured or _heard(state, KNOWN_MS)]
    due = [state.model for state in real if _due(state)]
    if not (due or _stale(before, real, settings)):
        return None
    silent = bool(real) or watched_ms >= UNHEARD_MS or before.status in BAD
    unheard = silent and not any(shut(state) or _heard(state, UNHEARD_MS) for state in real)
    return Plan(
        provider=name,
        before=before,
        states=real,
        models=tuple((due or (_usual(real, configured) if unheard else []))[:MOST_GENERATIONS]),
        heard=any(_heard(state, 1_000 * settings.health.interval_s) for state in real),
    )


def judged(plan: Plan, reach: Reach, generated: Mapping[str, str | None]) -> Health:
    """Return a provider's health. `generated`: by model why it does not generate, empty if it does, None if nobody knows."""
    tried = [reason for reason in generated.values() if reason is not None]
    calls, failures = sum(state.calls for state in plan.states), sum(state.failures for state in plan.states)
    status, reason = _standing(plan, reach, generated)
    return Health(
        provider=plan.provider,
        status=status,
        reachable=reach.reachable,
        generates=not any(tried) if tried else None,
        reason=reason,
        response_time_ms=reach.response_time_ms,
        success_rate=round(1 - failures / calls, 4) if calls else None,
    )


def spares_calls(plan: Plan, health: Health) -> bool:
    """Say whether the gate has to hear of what was found: no job is to call the provider until it generates again.

    Where every model's breaker is open, they do that already; a fault of one model says nothing of the others.
    """
    bad = health.status in BAD and health.reason not in MODEL_FAULTS
    return bad and not (plan.states and all(map(shut, plan.states)))


def _standing(plan: Plan, reach: Reach, generated: Mapping[str, str | None]) -> tuple[Standing, str]:
    """Return how a provider does, and the class of what is wrong.

    A server may serve completions and no list of models: what has just answered jobs is not down.
    """
    works = [model for model, reason in generated.items() if reason == ""]
    broken = {model: reason for model, reason in generated.items() if reason}
    for state in plan.states:
        if state.model not in generated or generated[state.model] is None:
            if shut(state):
                broken[state.model] = state.reason
            elif _heard(state, UNHEARD_MS):
                works.append(state.model)
    if reach.reason:
        if works or plan.heard:
            return Standing.DEGRADED, reach.reason
        return (Standing.REFUSED if reach.refused else Standing.DOWN), reach.reason
    if not broken:
        if not works and plan.before.status in BAD:
            return plan.before.status, plan.before.reason  # it can be reached again; only an answer is proof
        return Standing.HEALTHY, ""
    reason = next(iter(broken.values()))
    if works:
        return Standing.DEGRADED, reason
    return (Standing.REFUSED if reason in ACCOUNT_FAULTS else Standing.DOWN), reason


def _stale(before: Health, states: Sequence[TargetState], settings: Settings) -> bool:
    """Say whether a check would be too old by the next look."""
    if before.age_ms is None:
        return True
    troubled = before.status in TROUBLED or any(map(shut, states))
    kept_s = min(settings.breakers.probe_s, settings.health.interval_s) if troubled else settings.health.interval_s
    return before.age_ms + 1_000 * HEALTH_S >= 1_000 * kept_s


def _due(state: TargetState) -> bool:
    """Say whether it is time for the one call that tries a breaker."""
    return shut(state) and (state.next_probe_ms or 0) <= 0 and state.throttled_ms <= 0


def shut(state: TargetState) -> bool:
    """Say whether a breaker is not closed."""
    return state.breaker is not Breaker.CLOSED or state.account is not Breaker.CLOSED


def _heard(state: TargetState, within_ms: float) -> bool:
    return state.heard_ago_ms is not None and state.heard_ago_ms < within_ms


def _configured(name: str, settings: Settings) -> list[str]:
    """Return the provider's models that logical models name, in their order."""
    entries = (entry.partition("/") for entries in settings.models.values() for entry in entries)
    return list(dict.fromkeys(model for provider, _, model in entries if provider == name))


def _usual(states: Sequence[TargetState], configured: Sequence[str]) -> list[str]:
    """Return the model that stands for a provider: the one heard last, else the first that is configured."""
    heard = [state for state in states if state.heard_ago_ms is not None]
    if heard:
        return [min(heard, key=lambda state: state.heard_ago_ms or 0).model]
    return list(configured[:1])
