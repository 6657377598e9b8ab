"""How the suite is divided among the processes of pytest-xdist, so that none of them waits and the machine is not flooded.

Tests that start whole services go into three lanes, one after the other within a lane: more of them at once would only take
each other's time. They begin first; the rest fills what they leave, shortest tests last. Tests of a file that share a set-up
stay in one process. What a file needs is read in its text: the process that divides has not collected it.
(`--dist loadgroup` would do, but for pytest-xdist 3.8 its groups get lost under pytest 9.)
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[2]
LANES = 3
LEVELS = ("acceptance", "integration", "contract", "unit")
_STARTS_SERVICES = re.compile(r"^from tests\.support\.(?:stack|wall|planting|fleet import .*\bFleet\b)", re.MULTILINE)
_SHARES_A_SET_UP = re.compile(r"fixture\(.*scope=\"(?:module|class|package)\"")


class Lanes(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives a process one test, one file or one lane at a time."""

    def _split_scope(self, nodeid: str) -> str:
        file = _file(nodeid)
        return lanes().get(file) or (file if _shares_a_set_up(file) else nodeid)


def order(items: list[pytest.Item]) -> None:
    """Order tests from the longest kind to the shortest."""
    items.sort(key=lambda item: (_file(item.nodeid) not in lanes(), _level(_file(item.nodeid))))


@functools.cache
def lanes() -> dict[str, str]:
    """Return the lane of each file whose tests start whole services."""
    acceptance = sorted((ROOT / "tests/acceptance").glob("test_*.py"))
    integration = sorted((ROOT / "tests/integration").glob("test_*.py"))
    files = acceptance + [path for path in integration if _STARTS_SERVICES.search(path.read_text("utf-8"))]
    return {path.relative_to(ROOT).as_posix(): f"lane {place % LANES + 1}" for place, path in enumerate(files)}


@functools.cache
def _shares_a_set_up(file: str) -> bool:
    return _SHARES_A_SET_UP.search((ROOT / file).read_text("utf-8")) is not None


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _level(file: str) -> int:
    return next((place for place, level in enumerate(LEVELS) if file.startswith(f"tests/{level}/")), 0)
