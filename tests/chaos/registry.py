"""Finds the scenarios: every module of this package that has a `run`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tests.chaos
from tests.chaos.rows import Row

LIMIT_S = 900.0
"""How long a scenario may take at scale 1, unless its module sets a `LIMIT_S` of its own."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A module `tests.chaos.{name}`: `run(scale)` does it and returns its rows; the first line of its docstring tells what."""

    name: str
    told: str
    run: Callable[[float], Sequence[Row]]
    limit_s: float


def scenarios() -> dict[str, Scenario]:
    """Return all scenarios by name."""
    names = (found.name for found in pkgutil.iter_modules(tests.chaos.__path__) if not found.ispkg)
    found = (_scenario(name) for name in names if name != "__main__")
    return {one.name: one for one in found if one is not None}


def _scenario(name: str) -> Scenario | None:
    module = importlib.import_module(f"tests.chaos.{name}")
    run = getattr(module, "run", None)
    if run is None:
        return None
    told = (module.__doc__ or name).partition("\n")[0]
    return Scenario(name=name, told=told, run=run, limit_s=getattr(module, "LIMIT_S", LIMIT_S))
