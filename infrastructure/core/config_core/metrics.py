"""What a configuration counts of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from infrastructure.core.config_core.snapshot import Snapshot

REMEMBERED_PROBLEMS = 20


@dataclass(slots=True)
class Counts:
    """Loads and reloads of one service in this process. Times are milliseconds."""

    loads: int = 0
    reloads: int = 0
    unchanged: int = 0
    failures: int = 0
    subscriber_failures: int = 0
    total_ms: float = 0.0
    slowest_ms: float = 0.0
    failed_at: datetime | None = None
    problems: Sequence[str] = field(default_factory=tuple)

    def loaded(self, took_ms: float) -> None:
        """Count a reading of the layers that was good."""
        self.loads += 1
        self.total_ms += took_ms
        self.slowest_ms = max(self.slowest_ms, took_ms)

    def failed(self, problems: Sequence[str], *, at: datetime) -> None:
        """Count a refused configuration; its first problems are kept."""
        self.failures += 1
        self.failed_at, self.problems = at, tuple(problems)[:REMEMBERED_PROBLEMS]

    def described(self, snapshot: Snapshot, *, overrides: Sequence[str], held: int, watched: bool) -> dict[str, Any]:
        """Return the metrics, with what is in force; no value stands in them."""
        return {
            "version": snapshot.version,
            "environment": snapshot.settings.environment.value,
            "loaded_at": snapshot.loaded_at.isoformat(timespec="milliseconds"),
            "load_ms": {
                "last": round(snapshot.load_ms, 3),
                "average": round(self.total_ms / self.loads, 3) if self.loads else 0.0,
                "slowest": round(self.slowest_ms, 3),
            },
            "loads": self.loads,
            "sources": sources_of(snapshot),
            "reloads": self.reloads,
            "reloads_without_change": self.unchanged,
            "reload_failures": self.failures,
            "last_failure": None if self.failed_at is None else {
                "at": self.failed_at.isoformat(timespec="milliseconds"), "problems": list(self.problems)
            },
            "subscriber_failures": self.subscriber_failures,
            "overrides": list(overrides),
            "waiting_for_restart": list(snapshot.waiting_for_restart),
            "snapshots_in_use": held,
            "watched": watched,
        }  # fmt: skip


def sources_of(snapshot: Snapshot) -> dict[str, int]:
    """Return how many values come from each place: a file's path, or the kind of another layer."""
    origins = snapshot.loaded.origins.values()
    return dict(Counter(where if where.endswith(".yml") else where.partition(" ")[0] for where in origins))
