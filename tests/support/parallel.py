"""How the suite is divided among the processes of pytest-xdist, so that none of them waits and the machine is not flooded.

Tests that start whole services go into two lanes, one after the other within a lane: more of them at once would only take
each other's time. They begin first; the rest fills what they leave, shortest tests last. Tests of a file that share a set-up
stay in one process.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.stack import Home

LANES = 2
LEVELS = ("acceptance", "integration", "contract", "unit")
WIDE = {"module", "class", "package"}


def divide(items: list[pytest.Item]) -> None:
    """Order tests and give them groups; the outcome depends on the tests alone, so that it is the same in every process."""
    lanes: dict[str, int] = {}
    for item in sorted(items, key=_level):
        if item.nodeid.startswith("tests/acceptance/") or _starts_services(item):
            lanes.setdefault(_file(item), len(lanes) % LANES)
    for item in items:
        file = _file(item)
        if file in lanes:
            item.add_marker(pytest.mark.xdist_group(f"services-{lanes[file] + 1}"))
        elif _shares_a_set_up(item):
            item.add_marker(pytest.mark.xdist_group(Path(file).stem))
    items.sort(key=lambda item: (_file(item) not in lanes, _level(item)))


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _level(item: pytest.Item) -> int:
    return next((place for place, level in enumerate(LEVELS) if f"tests/{level}/" in item.nodeid), 0)


def _starts_services(item: pytest.Item) -> bool:
    """Say whether a test's file uses what starts front door, workers and the rest as processes."""
    return isinstance(item, pytest.Function) and any(
        isinstance(one, type) and issubclass(one, (Fleet, Home)) for one in vars(item.module).values()
    )


def _shares_a_set_up(item: pytest.Item) -> bool:
    """Say whether a test uses a fixture of our own that is made once for several tests, but not for all."""
    if not isinstance(item, pytest.Function):
        return False
    found = item._fixtureinfo.name2fixturedefs.values()
    return any(one.scope in WIDE for definitions in found for one in definitions if one.baseid.startswith("tests"))
