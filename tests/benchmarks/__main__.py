"""`make bench`: every short measurement, or the ones named: `python -m tests.benchmarks in_flight throughput`.

The long ones run only by name, whole or in part: `python -m tests.benchmarks outages`, `… outages hang reset`.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable

import psutil

from infrastructure.core.logger_core import configure_logging
from tests.benchmarks import (
    cache,
    claims,
    config_reloads,
    flights,
    gate,
    in_flight,
    infrastructure_costs,
    outages,
    overhead,
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
    "overhead": overhead.measure,
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
    """Run what is asked for, and leave with status 2 and the names where that is none; words behind a name are its parts."""
    parts: list[tuple[Callable[..., None], list[str]]] = []
    for word in sys.argv[1:] or MEASUREMENTS:
        if measure := {**MEASUREMENTS, **LONG}.get(word):
            parts.append((measure, []))
        elif not parts or word.startswith("-"):
            _leave(word)
        else:
            parts[-1][1].append(word)
    print(
        f"Python {platform.python_version()}, {psutil.cpu_count()} cores; ratios count, single figures drift",
        flush=True,
    )
    for measure, words in parts:
        configure_logging("bench", level="critical")  # lines between the rows of a table would be in the way
        measure(*words)


def _leave(word: str) -> None:
    wrong = [] if word in {"-h", "--help"} else [f"no such measurement: {word}"]
    names = " | ".join([*MEASUREMENTS, *LONG])
    print(*wrong, f"usage: python -m tests.benchmarks [{names}] ...", sep="\n", flush=True)
    sys.exit(2 if wrong else 0)


if __name__ == "__main__":
    main()
