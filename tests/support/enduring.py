"""A load run through an outage, and each promise beside the figure that came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.machine import in_time
from tests.support.outages import CALLS, Case, Outage, Scale
from tests.support.steady import Body, Run, outcomes, p95_ms, percentile, questions, run, share, warm_up
from tests.support.wall import Wall


@dataclass(frozen=True)
class Measured:
    """One promise, what it allows, and what was measured."""

    promise: str
    limit: str
    figure: str
    kept: bool


@dataclass
class Shown:
    """What an outage led to: the run, and each promise beside its figure."""

    outage: Outage
    run: Run
    rows: list[Measured] = field(default_factory=list)

    def add(self, promise: str, limit: str, figure: str, *, kept: bool) -> None:
        """Note one figure."""
        self.rows.append(Measured(f"{self.outage.promise}: {promise}", limit, figure, kept))

    @property
    def broken(self) -> list[str]:
        """Return the promises that were not kept, each with its figure."""
        return [f"{row.promise}: expected {row.limit}, got {row.figure}" for row in self.rows if not row.kept]


def ready(wall: Wall, *, workers: int) -> None:
    """Start everything, and run a few jobs of every model."""
    wall.start(workers=workers)
    for model in wall.settings.get("models", {}):
        warm_up(wall.url, model=model)


async def calm(wall: Wall, case: Case, scale: Scale) -> Run:
    """Run the load without any fault, for as long as the outage would be."""
    return await run(wall.url, rate=scale.rate, seconds=scale.out_s, body=questions(case.model))


async def endure(wall: Wall, case: Case, scale: Scale, *, usual: Run | None = None) -> Shown:
    """Run the load through an outage. `usual` is the same load without it; None: its own first, calm part."""
    reached: list[int] = []

    def count() -> None:
        reached.append(wall.calls(case.first))

    found = await _through(wall, case, scale, body=questions(case.model), names=(case.first,), look=count)
    return _judged(wall, case, found, usual=usual, reached=reached[1] - reached[0])


async def all_down(wall: Wall, case: Case, scale: Scale, *, short_s: float, long_s: float) -> Shown:
    """Run the load while every provider is down; every other job has a deadline that lies within the outage."""
    question = questions(case.model)

    def body(number: int) -> dict[str, Any]:
        return {**question(number), "deadline_s": short_s if number % 2 else long_s}

    names = [one.name for one in case.providers]
    found = await _through(wall, case, scale, body=body, names=names, ended_within_s=long_s)
    allowed = {job.id: short_s if number % 2 else long_s for number, job in enumerate(found.jobs)}
    shown = Shown(case.outage, found)
    past_s = max(job.total_ms / 1000 - allowed[job.id] for job in found.jobs)
    shown.add("most past a deadline", "<= 1 s", f"{past_s:.2f} s", kept=in_time(past_s, 1))
    long = [job for job in found.jobs if allowed[job.id] == long_s]
    unended = [job for job in long if job.status != "completed"]
    figure = f"{len(long) - len(unended)} of {len(long)} {outcomes(unended) or ''}"
    shown.add("jobs with time left complete", "all", figure, kept=not unended)
    most, limit = wall.most_calls_a_visit(), len(case.providers) + 1
    shown.add("attempts a delivery", f"<= {limit}", str(most), kept=0 < most <= limit)
    back = [job.finished_ms for job in found.between("out", "back") if job.finished_ms and job.status == "completed"]
    if back:
        found.notes["first_answer_after_s"] = (percentile(back, 0) - found.marks["back"]) / 1000
        found.notes["last_answer_after_s"] = (percentile(back, 1) - found.marks["back"]) / 1000
    return shown


async def _through(
    wall: Wall,
    case: Case,
    scale: Scale,
    *,
    body: Body,
    names: Sequence[str],
    look: Callable[[], None] = lambda: None,
    ended_within_s: float = 60,
) -> Run:
    outage = case.outage

    def begin() -> None:
        look()
        for name in names:
            if outage.profile is not None:
                wall.profile(name, **outage.profile(scale.out_s))
            wall.bend(name, *_rules(outage, name))

    def end() -> None:
        look()
        for name in names:
            wall.profile(name)
            wall.bend(name)

    moments = [(scale.calm_s, "out", begin), (scale.calm_s + scale.out_s, "back", end)]
    seconds = scale.calm_s + scale.out_s + scale.after_s
    return await run(
        wall.url, rate=scale.rate, seconds=seconds, body=body, moments=moments, ended_within_s=ended_within_s
    )


def _rules(outage: Outage, name: str) -> list[dict[str, Any]]:
    paths = [CALLS, "/v1/models"] if outage.models_too else [CALLS]
    return [{**rule, "match": {"instance": name, "path": path}} for path in paths for rule in outage.rules]


def _judged(wall: Wall, case: Case, found: Run, *, usual: Run | None, reached: int) -> Shown:
    outage, first = case.outage, case.first
    shown = Shown(outage, found)
    bad = found.unanswered
    shown.add("failed jobs", "0", f"{len(bad)} of {len(found.jobs)} {outcomes(bad) or ''}", kept=not bad)
    if outage.calls is not None:
        into = found.failed_calls(first) + wall.probes(first) if outage.unseen else reached
        shown.add("calls into it", f"<= {outage.calls}", str(into), kept=into <= outage.calls)
    calm_jobs = found.between(0, "out") if usual is None else usual.jobs
    if outage.added_s is not None:
        added_s = (p95_ms(found.between("out", "back")) - p95_ms(calm_jobs)) / 1000
        shown.add("added p95", f"<= {outage.added_s:g} s", f"{added_s:.2f} s", kept=in_time(added_s, outage.added_s))
    if outage.back_s is not None:
        after_s = found.back_after_s(first, since="back", usual=share(found.between(0, "out"), first))
        shown.add("traffic back", f"<= {outage.back_s:g} s", f"{after_s:.1f} s", kept=in_time(after_s, outage.back_s))
    if outage.share is not None:
        later = found.between(found.marks["out"] + 1000 * outage.share_after_s, "back")
        part = share(later, first)
        kept = bool(later) and part < outage.share
        told = f"{part:.1%}, {share(found.between(0, 'out'), first):.0%} before"
        shown.add(f"share after {outage.share_after_s:g} s", f"< {outage.share:.0%}", told, kept=kept)
    return shown
