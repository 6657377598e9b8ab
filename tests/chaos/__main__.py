"""`make chaos`: every scenario in full, or some of them smaller: `python -m tests.chaos worker_kills --scale 0.1`.

Ends with one table and status 0, or 1 when any limit was broken.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from dataclasses import replace

import psutil

from infrastructure.core.logger_core import configure_logging
from tests.chaos.registry import Scenario, scenarios
from tests.chaos.rows import Row
from tests.chaos.running import run_one
from tests.chaos.table import say, show
from tests.support.surroundings import without_keys


def main() -> int:
    """Run what is asked for and return the exit status."""
    without_keys(os.environ)
    found = scenarios()
    asked = _arguments(found)
    if asked.list:
        show_names(found)
        return 0
    configure_logging("chaos", level="critical")  # lines between those of the progress would be in the way
    say(f"Python {platform.python_version()}, {psutil.cpu_count()} cores, scale {asked.scale:g}")
    rows = [row for name in asked.names or found for row in _run(found[name], asked.scale)]
    show("chaos", rows)
    broken = sum(not row.ok for row in rows)
    say(f"{broken} of {len(rows)} limits broken" if broken else f"all {len(rows)} rows ok")
    return int(broken > 0)


def show_names(found: dict[str, Scenario]) -> None:
    """Print the scenarios with what they do."""
    for one in found.values():
        say(f"{one.name:16} {one.told}")


def _run(scenario: Scenario, scale: float) -> list[Row]:
    began = time.monotonic()
    say(f"{scenario.name}: {scenario.told}")
    rows = [replace(row, what=f"{scenario.name}: {row.what}") for row in run_one(scenario, scale)]
    for row in rows:
        say(f"  {'ok    ' if row.ok else 'BROKEN'} {row.what}: {row.figure} ({row.limit})")
    say(f"  {time.monotonic() - began:.0f} s")
    return rows


def _arguments(found: dict[str, Scenario]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Kill what can be killed, and count.")
    parser.add_argument("names", nargs="*", help=f"scenarios, all without any: {', '.join(found)}")
    parser.add_argument("--scale", type=float, default=1.0, help="of the full counts, 0.01 to 1 (default 1)")
    parser.add_argument("--list", action="store_true", help="say what there is")
    asked = parser.parse_args()
    for name in asked.names:
        if name not in found:
            parser.error(f"no such scenario: {name}; there are {', '.join(found)}")
    if not 0.01 <= asked.scale <= 1:
        parser.error(f"expected the scale to be 0.01 to 1, got {asked.scale}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
