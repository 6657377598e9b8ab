"""`make bench`: every measurement, or the ones named: `python -m tests.benchmarks in_flight throughput`."""

from __future__ import annotations

import platform
import sys

import psutil

from tests.benchmarks import in_flight, throughput

MEASUREMENTS = {"throughput": throughput.measure, "in_flight": in_flight.measure}


def main() -> None:
    """Run what is asked for."""
    print(f"Python {platform.python_version()}, {psutil.cpu_count()} cores; ratios count, single figures drift")
    for name in sys.argv[1:] or MEASUREMENTS:
        MEASUREMENTS[name]()


if __name__ == "__main__":
    main()
