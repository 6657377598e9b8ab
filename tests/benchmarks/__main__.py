"""`make bench`: every measurement, or the ones named: `python -m tests.benchmarks in_flight throughput`."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable

import psutil

from infrastructure.core.logger_core import configure_logging
from tests.benchmarks import cache, config_reloads, in_flight, infrastructure_costs, throughput

MEASUREMENTS: dict[str, Callable[[], None]] = {
    "throughput": throughput.measure,
    "in_flight": in_flight.measure,
    "cache": cache.measure,
    "config_reloads": config_reloads.measure,
    "infrastructure": infrastructure_costs.measure,
}


def main() -> None:
    """Run what is asked for, and leave with status 2 and the names where that is none."""
    asked = sys.argv[1:]
    if unknown := [name for name in asked if name not in MEASUREMENTS]:
        wrong = [] if {*unknown} <= {"-h", "--help"} else [f"no such measurement: {', '.join(unknown)}"]
        print(*wrong, f"usage: python -m tests.benchmarks [{' | '.join(MEASUREMENTS)}] ...", sep="\n", flush=True)
        sys.exit(2 if wrong else 0)
    print(
        f"Python {platform.python_version()}, {psutil.cpu_count()} cores; ratios count, single figures drift",
        flush=True,
    )
    for name in asked or MEASUREMENTS:
        configure_logging("bench", level="critical")  # lines between the rows of a table would be in the way
        MEASUREMENTS[name]()


if __name__ == "__main__":
    main()
