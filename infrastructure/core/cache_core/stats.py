"""What a cache did since its start, in figures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from infrastructure.core.performance_core.histogram import Histogram


@dataclass(slots=True)
class Stats:
    """Counts of one cache; times in ms."""

    misses: int = 0
    sets: int = 0
    deletes: int = 0
    refused: int = 0
    """Values that are neither JSON nor bytes, too long, or would come back changed."""
    damaged: int = 0
    invalidations: int = 0
    heard: int = 0
    """Changes of other processes that took a value from L1."""
    gaps: int = 0
    """Times that all of L1 was forgotten, since a change may have been missed."""
    latency: dict[str, Histogram] = field(default_factory=lambda: {tier: Histogram() for tier in ("l1", "l2", "miss")})
    age: Histogram = field(default_factory=Histogram)

    def hit(self, tier: str, *, latency_ms: float, age_s: float) -> None:
        """Count a hit in `l1` or `l2`."""
        self.latency[tier].add(latency_ms)
        self.age.add(age_s * 1_000)

    def miss(self, *, latency_ms: float) -> None:
        """Count a miss."""
        self.misses += 1
        self.latency["miss"].add(latency_ms)

    def hits(self) -> dict[str, Any]:
        """Return hits by tier, misses, and the ratio (None before the first question)."""
        l1, l2 = self.latency["l1"].count, self.latency["l2"].count
        asked = l1 + l2 + self.misses
        return {"hits": {"l1": l1, "l2": l2}, "misses": self.misses, "hit_ratio": (l1 + l2) / asked if asked else None}

    def saved_ms(self) -> float | None:
        """Return the time that L1 saved against asking Redis each time; None before Redis was asked."""
        l1, l2 = self.latency["l1"], self.latency["l2"]
        return l1.count * (l2.sum_ms / l2.count) - l1.sum_ms if l2.count else None
