"""Outages of a preferred provider, in full: `python -m tests.benchmarks outages [name …]`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

from tests.benchmarks.table import Table
from tests.support.enduring import Shown, all_down, calm, endure, ready
from tests.support.outages import ALL, OUTAGES, Outage, Scale, case_of, wall_of
from tests.support.steady import Run, outcomes, p95_ms

FULL = Scale(calm_s=5, after_s=20)
DOWN_120_S = Scale(rate=5, calm_s=5, out_s=120, after_s=10)
SHORT_S, LONG_S = 30, 600


def measure(*names: str) -> None:
    """Print each promise with its figure; all outages one after the other, or those named."""
    table = Table("Outages: 10 jobs/s, 4 workers, the preferred of 3 providers", ["promise", "allowed", "measured", ""])
    for shown in _each([OUTAGES[name] for name in names or OUTAGES if name != ALL.name]):
        _tell(table, shown)
    if ALL.name in (names or [ALL.name]):
        _tell(table, _all_down())
    table.show()


def _tell(table: Table, shown: Shown) -> None:
    for row in shown.rows:
        table.row(row.promise, row.limit, row.figure, "kept" if row.kept else "BROKEN")
    told = [outcomes(shown.run.jobs), shown.run.notes, shown.broken or "kept"]
    print(f"{shown.outage.name}: {told}", file=sys.stderr, flush=True)


def _each(outages: list[Outage]) -> Iterator[Shown]:
    """Endure one outage after the other on one fleet, each with providers of its own."""
    cases = [case_of(outage, prefix=f"{outage.name}-") for outage in outages]
    if not cases:
        return
    with wall_of(*cases) as wall:
        ready(wall, workers=FULL.workers)
        usual: dict[bool, Run] = {}
        for case in cases:
            tiers = case.outage.same_tier
            if tiers not in usual:
                usual[tiers] = asyncio.run(calm(wall, case, FULL))
                print(f"without an outage: p95 {p95_ms(usual[tiers].jobs):.0f} ms", file=sys.stderr, flush=True)
            yield asyncio.run(endure(wall, case, FULL, usual=usual[tiers]))


def _all_down() -> Shown:
    case = case_of(ALL)
    with wall_of(case) as wall:
        ready(wall, workers=DOWN_120_S.workers)
        return asyncio.run(all_down(wall, case, DOWN_120_S, short_s=SHORT_S, long_s=LONG_S))
