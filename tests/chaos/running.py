"""Runs scenarios one after the other, each within its time, and leaves none of their processes behind."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import psutil

from tests.chaos.registry import Scenario
from tests.chaos.rows import Row

LEAST_LIMIT_S = 180.0
"""A scenario at the smallest scale still starts processes."""


class TookTooLong(Exception):
    """A scenario did not end in its time."""


def run_one(scenario: Scenario, scale: float) -> Sequence[Row]:
    """Return a scenario's rows; one that breaks, takes too long or says nothing has a row that is not ok."""
    limit_s = max(LEAST_LIMIT_S, scenario.limit_s * scale)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    try:
        with _ends_within(limit_s):
            rows = scenario.run(scale)
        return rows or [Row(f"{scenario.name}: rows", "0", ">= 1", ok=False)]
    except Exception as exc:  # noqa: BLE001  the table shows whatever broke a scenario, and the others run
        traceback.print_exc()
        told = str(exc).partition("\n")[0][:100]
        return [Row(f"{scenario.name} runs to its end", f"{type(exc).__name__}: {told}", "no error", ok=False)]
    finally:
        _end_children(before)


@contextmanager
def _ends_within(limit_s: float) -> Iterator[None]:
    """Raise TookTooLong in the main thread when the block takes longer."""
    began = time.monotonic()

    def ring(signum: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"expected the scenario to end within {limit_s:.0f} s, took {time.monotonic() - began:.0f}")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _end_children(before: set[int]) -> None:
    """End what a scenario started and left, and nothing else."""
    for child in psutil.Process().children(recursive=True):
        if child.pid not in before:
            child.kill()
