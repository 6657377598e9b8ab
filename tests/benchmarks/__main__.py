"""`make bench`: every measurement, or the ones named: `python -m tests.benchmarks in_flight throughput`."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable

import psutil

from tests.benchmarks import cache, config_reloads, in_flight, infrastructure_costs, throughput

MEASUREMENTS: dict[str, Callable[[], None]] = {
    "throughput": throughput.measure,
    "in_flight": in_flight.measure,
    "cache": cache.measure,
    "config_reloads": config_reloads.measure,
    "infrastructure": infrastructure_costs.measure,
}


def main() -> None:
    """Run what is asked for."""
    print(f"Python {platform.python_version()}, {psutil.cpu_count()} cores; ratios count, single figures drift")
    for name in sys.argv[1:] or MEASUREMENTS:
        MEASUREMENTS[name]()


if __name__ == "__main__":
    main()
