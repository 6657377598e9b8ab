"""What is known of each provider: how available it is, how fast, and what a token costs there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from infrastructure.core.performance_core import operations as op
from infrastructure.core.performance_core.figures import Figures
from infrastructure.core.performance_core.snapshot import Snapshot

_FIGURES = ("count", "success_rate", "error_types", "average_ms", "p95_ms", "p99_ms")
_PREFIX = op.named(op.PROVIDER_CALL, "")


def providers(totals: Mapping[str, Figures], snapshots: Iterable[Snapshot]) -> dict[str, dict[str, Any]]:
    """Return the figures by provider; what a token costs is None while no call's cost is known."""
    amounts: defaultdict[str, float] = defaultdict(float)
    for one in snapshots:
        for name, amount in one.amounts.items():
            amounts[name] += amount
    return {
        name.removeprefix(_PREFIX): _provider(name.removeprefix(_PREFIX), figures, amounts)
        for name, figures in totals.items()
        if name.startswith(_PREFIX)
    }


def _provider(name: str, figures: Figures, amounts: Mapping[str, float]) -> dict[str, Any]:
    shown = figures.shown()
    cost, tokens = amounts[op.named(op.COST_USD, name)], amounts[op.named(op.TOKENS, name)]
    return {
        **{figure: shown[figure] for figure in _FIGURES},
        "cost_usd": round(cost, 9),
        "tokens": int(tokens),
        "cost_per_token_usd": cost / tokens if tokens else None,
        "unpriced_calls": int(amounts[op.named(op.UNPRICED, name)]),
    }
