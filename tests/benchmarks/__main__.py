"""`make bench`: every short measurement, or the ones named: `python -m tests.benchmarks in_flight throughput`.

The long ones run only by name, whole or in part: `python -m tests.benchmarks outages`, `… outages hang reset`.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable

import psutil

from tests.benchmarks import (
    cache,
    claims,
    config_reloads,
    flights,
    gate,
    in_flight,
    infrastructure_costs,
    outages,
    selection,
    sharing,
    throughput,
)

MEASUREMENTS: dict[str, Callable[[], None]] = {
    "throughput": throughput.measure,
    "in_flight": in_flight.measure,
    "cache": cache.measure,
    "gate": gate.measure,
    "selection": selection.measure,
    "config_reloads": config_reloads.measure,
    "infrastructure": infrastructure_costs.measure,
}

LONG: dict[str, Callable[..., None]] = {
    "outages": outages.measure,
    "flights": flights.measure,
    "claims": claims.measure,
    "sharing": sharing.measure,
}


def main() -> None:
    """Run what is asked for."""
    print(f"Python {platform.python_version()}, {psutil.cpu_count()} cores; ratios count, single figures drift")
    parts: list[tuple[Callable[..., None], list[str]]] = []
    for word in sys.argv[1:] or MEASUREMENTS:
        if measure := {**MEASUREMENTS, **LONG}.get(word):
            parts.append((measure, []))
        else:
            parts[-1][1].append(word)
    for measure, words in parts:
        measure(*words)


if __name__ == "__main__":
    main()
