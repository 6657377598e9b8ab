"""What each optimization brought, from what was measured with it and without it; nothing is claimed that was not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from infrastructure.core.performance_core import operations as op
from infrastructure.core.performance_core.figures import Figures

NOT_MEASURED = "not measured yet"
Totals = Mapping[str, Figures]
NONE = Figures()


def response_caching(totals: Totals, _: int) -> dict[str, Any]:
    """Compare the time of a hit with the time of a miss."""
    hit, miss = totals.get(op.CACHE_HIT, NONE), totals.get(op.CACHE_MISS, NONE)
    gain = _faster(hit.durations.average(), miss.durations.average())
    return {"cache_hit_rate": _percent(_rate(hit, miss)), **_improved(gain, "faster for repeated requests")}


def health_check_caching(totals: Totals, _: int) -> dict[str, Any]:
    """Return the share of questions that needed no probe."""
    rate = _rate(totals.get(op.HEALTH_CACHE_HIT, NONE), totals.get(op.HEALTH_CACHE_MISS, NONE))
    return {"cache_hit_rate": _percent(rate), **_improved(rate, "reduction in unnecessary API calls")}


def concurrent_health_checks(totals: Totals, peak: int) -> dict[str, Any]:
    """Compare the rounds with what their checks would have taken one after the other."""
    rounds, checks = totals.get(op.HEALTH_ROUND, NONE), totals.get(op.HEALTH_CHECK, NONE)
    measured = rounds.durations.count and checks.durations.count
    gain = _faster(rounds.durations.sum_ms, checks.durations.sum_ms) if measured else None
    level = f"{peak} providers" if peak else None
    return {"concurrency_level": level, **_improved(gain, "faster provider validation")}


def optimized_provider_selection(totals: Totals, _: int) -> dict[str, Any]:
    """Compare calls to providers that the score chose with calls to providers drawn at random (the exploration)."""
    chosen, drawn = totals.get(op.CALL_SELECTED, NONE), totals.get(op.CALL_EXPLORED, NONE)
    gain = _faster(chosen.durations.average(), drawn.durations.average())
    return {
        "selection_ms": totals.get(op.PROVIDER_SELECTION, NONE).durations.average(),
        "failover_ms": totals.get(op.FAILOVER, NONE).durations.average(),
        **_improved(gain, "faster calls than a random choice"),
    }


_IMPACTS: dict[str, Callable[[Totals, int], dict[str, Any]]] = {
    "response_caching": response_caching,
    "health_check_caching": health_check_caching,
    "concurrent_health_checks": concurrent_health_checks,
    "optimized_provider_selection": optimized_provider_selection,
}
NAMES = tuple(_IMPACTS)


def impacts(
    totals: Totals, switched: Mapping[str, Mapping[str, Any]], *, concurrent_checks: int
) -> dict[str, dict[str, Any]]:
    """Return the guide's table; `switched` says what is on (a response cache that has hits is), `concurrent_checks` how many checks ran at once at most."""
    return {
        name: {"enabled": _is_used(name, totals), **switched.get(name, {}), **impact(totals, concurrent_checks)}
        for name, impact in _IMPACTS.items()
    }


def _is_used(name: str, totals: Totals) -> bool:
    """Say whether the response cache answers, by its hits, where nobody has said that it is on; of the others nothing tells."""
    return name == "response_caching" and totals.get(op.CACHE_HIT, NONE).durations.count > 0


def _rate(hit: Figures, miss: Figures) -> float | None:
    asked = hit.durations.count + miss.durations.count
    return hit.durations.count / asked if asked else None


def _faster(with_it_ms: float | None, without_ms: float | None) -> float | None:
    """Return by which share of the time without it the time with it is shorter; below 0 where it is longer."""
    if with_it_ms is None or not without_ms:
        return None
    return 1 - with_it_ms / without_ms


def _improved(gain: float | None, what: str) -> dict[str, Any]:
    if gain is None:
        return {"improvement": None, "performance_improvement": NOT_MEASURED}
    return {"improvement": round(gain, 4), "performance_improvement": f"{_percent(gain)} {what}"}


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.0f}%"
