"""Two workers whose clocks are an hour apart, and the same load with clocks that agree."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.fleet import ROOT
from tests.support.outages import CALLS
from tests.support.steady import Run, questions, run
from tests.support.wall import Given, Wall

FIRST = "p1"
SHIFTED = Path(__file__).parent / "shifted_clock"


@dataclass(frozen=True)
class Told:
    """What a run with clocks showed: how each job ended, calls that were throttled or failed, and calls for repeats."""

    run: Run
    throttled: int
    failed: int
    ends: list[tuple[str, str | None, bool]]


def clock_wall() -> Wall:
    """Return a wall of three providers; breakers probe every second."""
    profile = {"latency_s": 0.1}
    others = [Given(name=name, priority=2, profile=profile) for name in ("p2", "p3")]
    return Wall(providers=[Given(name=FIRST, profile=profile), *others], settings={"breakers": {"probe_s": 1}})


def ahead(shift_s: float) -> dict[str, str]:
    """Return the variables of a process whose clock is so many seconds ahead; it keeps time otherwise."""
    return {"PYTHONPATH": f"{SHIFTED}:{ROOT}", "AIP_TEST_CLOCK_SHIFT_S": str(shift_s)}


def start(wall: Wall, *, shift_s: float) -> None:
    """Start two workers, upkeep, beat and the front door; the clock of one worker is ahead."""
    wall.add_worker()
    wall.add_worker(**ahead(shift_s))
    wall.start_upkeep()
    wall.start_web()
    wall.wait_for_workers(2)


def troubled(wall: Wall, *, rate: float, part_s: float) -> Told:
    """Run a load through a 429 storm whose Retry-After is a date, then through a failing provider, each `part_s` long.

    Every other question repeats the one before it, so that caches and flights are asked across the clocks.
    """
    question = questions()

    def body(number: int) -> dict[str, Any]:
        return {**question(number // 2), "deadline_s": 60, "cache": {"mode": "use"}}

    def storm() -> None:
        wall.profile(FIRST, limits={"storm_s": part_s, "retry_after": "date"})

    def failing() -> None:
        wall.sandbox.set_faults({"match": {"instance": FIRST, "path": CALLS}, "action": {"status": 503}})

    moments = [(part_s / 2, "storm", storm), (2 * part_s, "failing", failing),
               (3 * part_s, "healed", wall.sandbox.set_faults)]  # fmt: skip
    before = wall.throttled(FIRST)
    found = asyncio.run(run(wall.url, rate=rate, seconds=4 * part_s, body=body, moments=moments))
    seconds = wall.sandbox.timeline()["instances"][FIRST].values()
    failed = sum(int(counted.get("503", 0)) for counted in seconds)
    ends = [(job.status, job.code, job.provider is not None or job.cache != "miss") for job in found.jobs]
    return Told(found, wall.throttled(FIRST) - before, failed, ends)
