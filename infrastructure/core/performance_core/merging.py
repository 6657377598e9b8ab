"""Sections that processes tell of themselves, as one section of the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infrastructure.core.performance_core.histogram import BUCKETS, Histogram, spread

# What is no count does not add up: such a figure is shown by instance only.
_NO_COUNTS = ("rate", "ratio", "share", "percent", "version", "max", "min", "ttl", "limit", "id", "port", "at", "average",
              "mean",
              "p50", "p95", "p99", "age", "enabled", "level", "default")  # fmt: skip


_UNITS = ("ms", "s", "us")
_SUMS = ("total", "saved")  # of times, these add up


def merged(told: Mapping[str, Mapping[str, Any]], section: str) -> dict[str, Any]:
    """Return a section of the fleet: `fleet` holds the sums of its counts, `by_instance` each one's own words.

    `told` are the sections by instance; an instance that does not have this one is left out. A table with `buckets` is a
    histogram: the fleet's is that of all values, its percentiles too.
    """
    found = {instance: sections.get(section) for instance, sections in told.items()}
    each = {instance: one for instance, one in found.items() if one and isinstance(one, Mapping)}
    return {
        "fleet": _summed(list(each.values())),
        "by_instance": {instance: _shown(one) for instance, one in each.items()},
    }


def _hit_ratio(whole: Mapping[str, Any]) -> float | None:
    hits, misses = (_number(whole[name]) for name in ("hits", "misses"))
    return round(hits / (hits + misses), 4) if hits + misses else None


def _number(count: Any) -> float:
    """Return a count, or the sum of a table of counts."""
    return sum(map(_number, count.values())) if isinstance(count, Mapping) else count


def _summed(parts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up what all parts count, through nested tables; texts, lists and what does not add up are left out."""
    whole: dict[str, Any] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part[name] for part in parts if name in part]
        tables = [value for value in values if isinstance(value, Mapping)]
        if tables and all(BUCKETS in table for table in tables):
            whole[str(name)] = _spread_of(tables)
        elif tables and str(name).rpartition("_")[2] not in _UNITS:
            whole[str(name)] = _summed(tables)
        elif _adds_up(str(name)) and all(type(value) in {int, float} for value in values):
            whole[str(name)] = sum(values)
    return whole | {"hit_ratio": _hit_ratio(whole)} if {"hits", "misses"} <= whole.keys() else whole


def _spread_of(tables: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return count, mean and percentiles of all processes' values; a histogram that cannot be read is left out."""
    whole = Histogram()
    for table in tables:
        try:
            whole.merge(Histogram.of_wire(table[BUCKETS]))
        except (KeyError, TypeError, ValueError):
            continue
    return spread(whole)


def _shown(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return an instance's own words without what is only there to be merged."""
    return {
        name: _shown(value) if isinstance(value, Mapping) else value for name, value in part.items() if name != BUCKETS
    }


def _adds_up(name: str) -> bool:
    parts = name.lower().split("_")
    return not any(part in _NO_COUNTS for part in parts) and (parts[-1] not in _UNITS or parts[0] in _SUMS)
