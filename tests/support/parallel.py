"""How the suite is divided among the processes of pytest-xdist: what shares a set-up stays together, the longest begins."""

from __future__ import annotations

from pathlib import Path

import pytest

LEVELS = ("acceptance", "integration", "contract", "unit")
"""The levels from the longest tests to the shortest, so that at the end short ones fill the gaps."""
WIDE = {"module", "class", "package"}


def divide(items: list[pytest.Item]) -> None:
    """Order tests by level, and give those of a file with a fixture for the whole file one group."""
    items.sort(key=_level)  # stable: within a level as collected, the same in every process
    for item in items:
        if item.get_closest_marker("xdist_group") is None and _shares_a_set_up(item):
            item.add_marker(pytest.mark.xdist_group(_file(item)))


def _level(item: pytest.Item) -> int:
    return next((place for place, level in enumerate(LEVELS) if f"tests/{level}/" in item.nodeid), 0)


def _file(item: pytest.Item) -> str:
    return Path(item.nodeid.partition("::")[0]).stem


def _shares_a_set_up(item: pytest.Item) -> bool:
    """Say whether a test uses a fixture of our own that is made once for several tests, but not for all."""
    if not isinstance(item, pytest.Function):
        return False
    found = item._fixtureinfo.name2fixturedefs.values()
    return any(one.scope in WIDE for definitions in found for one in definitions if one.baseid.startswith("tests"))
