"""Readings of the layers that are believed: two in a row, a moment apart, that say the same.

Whoever rewrites a file in place, or swaps the folder behind a link while we are between two of its files, is so waited for,
and so is a file that was there and is gone for a moment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from infrastructure.core.config_core.build import Loaded, loaded_of
from infrastructure.core.config_core.faults import Fault
from infrastructure.core.config_core.merge import File, Merged, read_all
from infrastructure.core.config_core.sources import Sources

MOMENT_S = 0.02
READINGS = 50
GONE_FOR_S = 1.0
YOUNG_S = 1.0
"""A file that nobody wrote for as long is not being written."""


def load_steadily(sources: Sources, *, before: Mapping[Path, File] | None = None) -> Loaded:
    """Return what two equal readings make; at a start (`before` None) one is enough where no file is young.

    Raises:
        ConfigError: with every fault found, or because the files never stood still.
    """
    began = time.monotonic()
    merged, problems = _read(sources, before)
    if before is None and not _young(merged):
        return loaded_of(merged, problems)
    for _ in range(READINGS):
        _wait(before or {}, merged, began + GONE_FOR_S)
        again, its_problems = _read(sources, before)
        if (again, its_problems) == (merged, problems):
            return loaded_of(merged, problems)
        merged, problems = again, its_problems
    fault = Fault(
        f"kept changing for {READINGS * MOMENT_S:g} s while it was read", layer=str(sources.folder), code="changing"
    )
    return loaded_of(merged, [*problems, fault])


def _wait(before: Iterable[Path], merged: Merged, give_up_at: float) -> None:
    """Wait for a moment, and longer while a file is gone that was there: whoever takes it away to write it anew is not done."""
    time.sleep(MOMENT_S)
    gone = [path for path in before if path not in merged.files and not merged.unread]
    while gone and time.monotonic() < give_up_at and not any(map(os.path.lexists, gone)):
        time.sleep(MOMENT_S)


def _read(sources: Sources, before: Mapping[Path, File] | None) -> tuple[Merged, list[str]]:
    problems: list[str] = []
    return read_all(sources, problems, before), problems


def _young(merged: Merged) -> bool:
    return any(_age_s(path) < YOUNG_S for path in merged.files)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime  # compared with the file system's clock, so by the wall's
    except OSError:
        return 0.0
