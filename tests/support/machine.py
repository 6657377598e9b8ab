"""How much slower than a quiet one this machine is now: what tests allow for, whatever else runs on it."""

from __future__ import annotations

import time

SPIN_S = 0.03
QUIET = 1.3
"""Below this the machine counts as quiet, and bounds hold as they are written."""
MARGIN = 2.0
MOST = 40.0


def stretch() -> float:
    """Return by how much to stretch a bound: 1 on a quiet machine, else twice the time that work takes for its processor time."""
    began, cpu = time.monotonic(), time.thread_time()
    while (worked_s := time.thread_time() - cpu) < SPIN_S:
        pass
    slower = (time.monotonic() - began) / worked_s
    return 1.0 if slower < QUIET else min(MARGIN * slower, MOST)


def in_time(took_s: float, within_s: float) -> bool:
    """Say whether something took less than its bound: the bound as it is written, or stretched where others take the processor."""
    return took_s < within_s or took_s < within_s * stretch()
