"""The ledger as a table: what calls came to by day, tenant, provider or model; probes apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from workers.jobs.gate.costs import PROBES, CostRow

By = Literal["day", "tenant", "provider", "model"]
_COUNTS = (
    "calls",
    "failed",
    "lost",
    "unpriced",
    "maybe_billed",
    "prompt_tokens",
    "completion_tokens",
    "hits",
    "joined",
)
_BOUNDS = (("lost_upper_usd", "lost_unbounded"), ("maybe_upper_usd", "maybe_unbounded"))
"""Sums that bound a cost, unless calls of which no bound is known are among them."""
DIGITS = 9


def costs_json(rows: Sequence[CostRow], *, days: int, by: By, probes: bool) -> dict[str, Any]:
    """Return rows by `by` with their totals; `probes`: with what health probes cost, which no row has."""
    paid = [row for row in rows if row.tenant != PROBES]
    groups: dict[str, list[CostRow]] = {}
    for row in paid:
        groups.setdefault(_name(row, by), []).append(row)
    shown = {
        "object": "list",
        "by": by,
        "days": days,
        "data": [{by: name, **_sum(group)} for name, group in groups.items()],
        "totals": _sum(paid),
    }
    return shown | {"probes": _sum(row for row in rows if row.tenant == PROBES)} if probes else shown


def _name(row: CostRow, by: By) -> str:
    return f"{row.provider}/{row.model}" if by == "model" else str(getattr(row, by))


def _sum(rows: Iterable[CostRow]) -> dict[str, Any]:
    """Add rows up. The cost is the sum of what is known, None where calls were made and nothing of it is."""
    rows = list(rows)
    counts: dict[str, Any] = {name: sum(getattr(row, name) for row in rows) for name in _COUNTS}
    unknown = counts["calls"] > 0 and counts["unpriced"] + counts["maybe_billed"] >= counts["calls"]
    cost = None if unknown else _usd(row.cost_usd for row in rows)
    bounds = {
        name: None if any(getattr(row, without) for row in rows) else _usd(getattr(row, name) for row in rows)
        for name, without in _BOUNDS
    }
    return {**counts, "cost_usd": cost, "saved_usd": _usd(row.saved_usd for row in rows), **bounds}


def _usd(amounts: Iterable[float]) -> float:
    return round(sum(amounts), DIGITS)
