"""Equal requests over the fleet, in full: `python -m tests.benchmarks flights`."""

from __future__ import annotations

import asyncio
import os

from tests.benchmarks.table import Table
from tests.support.clocks import clock_wall, start, troubled
from tests.support.equal_requests import equal_at_once, leader_killed, shared_wall, tenants_share_prompts

WORKERS = 8
EQUAL = 1_000
KILLS = int(os.environ.get("AIP_BENCH_KILLS", "50"))
TENANTS, EACH, PROMPTS = 50, int(os.environ.get("AIP_BENCH_EACH", "2000")), 20
HOUR_S = 3_600.0


def measure(*names: str) -> None:
    """Print each promise with its figure; all of them, or those named."""
    table = Table("Equal requests, 8 workers", ["promise", "allowed", "measured", ""])
    works = {"equal": _equal, "leaders": _leaders, "tenants": _tenants, "clocks": _clocks}
    try:
        for name in names or works:
            works[name](table)
    finally:
        table.show()


def _row(table: Table, promise: str, allowed: str, figure: str, *, kept: bool) -> None:
    table.row(promise, allowed, figure, "kept" if kept else "BROKEN")


def _equal(table: Table) -> None:
    with shared_wall(8.0) as wall:
        wall.start(workers=WORKERS)
        found = asyncio.run(equal_at_once(wall, EQUAL))
    figure = f"{found.calls} calls, {found.ended}, {found.by_cache}, {found.seconds:.1f} s"
    kept = found.calls == 1 and found.ended == {"completed": EQUAL}
    _row(table, f"{EQUAL} equal requests at once", "1 call", figure, kept=kept)


def _leaders(table: Table) -> None:
    with shared_wall(3.0, settings={"jobs": {"heartbeat_s": 2, "lease_s": 6}}) as wall:
        wall.start(workers=WORKERS)
        founds = []
        for number in range(KILLS):
            founds.append(asyncio.run(leader_killed(wall, 40, within_s=60)))
            wall.wait_for_workers(WORKERS + number + 1)
    most, unended = max(one.calls for one in founds), sum(one.ended != {"completed": 40} for one in founds)
    figure = f"at most {most} calls, {unended} with waiters left, slowest {max(one.seconds for one in founds):.1f} s"
    _row(table, f"leader killed {KILLS} times", "<= 2 calls, all done", figure, kept=most <= 2 and not unended)


def _tenants(table: Table) -> None:
    with shared_wall(0.2) as wall:
        wall.start(workers=2)
        found = asyncio.run(tenants_share_prompts(wall, tenants=TENANTS, each=EACH, prompts=PROMPTS))
    figure = f"{found.crossed} crossed, {found.wrong} wrong, {found.calls} calls, {found.ended}, {found.by_cache}, {found.seconds:.0f} s"
    kept = not found.crossed and not found.wrong and found.ended == {"completed": TENANTS * EACH}
    _row(table, f"{TENANTS} tenants x {EACH} over {PROMPTS} prompts", "0 crossed", figure, kept=kept)


def _clocks(table: Table) -> None:
    founds = []
    for shift_s in (0.0, HOUR_S, -HOUR_S):
        with clock_wall() as wall:
            start(wall, shift_s=shift_s)
            founds.append(troubled(wall, rate=10, part_s=8))
    for shift, found in zip(("ahead", "behind"), founds[1:], strict=True):
        same = found.ends == founds[0].ends
        figure = f"same ends: {same}; throttled {found.throttled} ({founds[0].throttled}), failed {found.failed} ({founds[0].failed})"
        kept = same and max(found.throttled, found.failed) <= 20
        _row(table, f"one of two workers an hour {shift}", "no outcome changes", figure, kept=kept)
