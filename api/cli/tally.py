"""What a run of the demo has come to so far."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from api.cli.client import Job
from api.cli.submit import took_s


@dataclass(slots=True)
class Tally:
    """Counts of one run; `earlier` are jobs that an interrupted run left. `clock` gives monotonic seconds."""

    total: int
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    failed: int = 0
    in_flight: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    unknown_costs: int = 0
    hits: int = 0
    joined: int = 0
    earlier: int = 0
    earlier_done: int = 0
    earlier_failed: int = 0
    answer_s: list[float] = field(default_factory=list)
    """From the claim of each completed job to its answer."""
    line_s: list[float] = field(default_factory=list)
    """From its submit to its claim."""
    providers: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    started: float = 0.0
    ended: float | None = None

    def start(self) -> None:
        """Start the clock."""
        self.started = self.clock()

    def stop(self) -> None:
        """Stop the clock."""
        self.ended = self.clock()

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since the start, up to the end."""
        return (self.clock() if self.ended is None else self.ended) - self.started

    @property
    def per_s(self) -> float:
        """Return jobs ended each second."""
        return (self.done + self.failed) / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def complete(self) -> bool:
        """Say whether every job, those of earlier runs too, was completed."""
        return self.done == self.total and self.earlier_done == self.earlier

    def add(self, job: Job) -> None:
        """Count a job of this run that has ended."""
        if job["status"] == "completed":
            self.done += 1
            self.answer_s.append(took_s(job, since="started_at"))
            self.line_s.append(took_s(job) - self.answer_s[-1])
        else:
            self.failed += 1
            self.failures[(job.get("error") or {}).get("code") or job["status"]] += 1
        self.tokens += (job.get("usage") or {}).get("total_tokens") or 0
        self.cost_usd += job["cost_usd"] or 0.0
        self.unknown_costs += job["cost_usd"] is None
        self.hits += job.get("cache") == "hit"
        self.joined += job.get("cache") == "joined"
        if job.get("attempts"):
            self.providers[job["attempts"][-1]["provider"]] += 1

    def add_earlier(self, job: Job) -> None:
        """Count a job of an earlier run that has ended."""
        if job["status"] == "completed":
            self.earlier_done += 1
        else:
            self.earlier_failed += 1


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie (nearest rank); 0 where there are none."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
