"""What was measured of one operation, as a value that adds up over processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from infrastructure.core.performance_core.histogram import Histogram

DIGITS = 6


@dataclass(slots=True)
class Figures:
    """Durations, and ends that were no success: `errors` by type; `cancelled` are neither success nor error."""

    durations: Histogram = field(default_factory=Histogram)
    errors: Counter[str] = field(default_factory=Counter)
    cancelled: int = 0

    def copy(self) -> Figures:
        """Return an equal value that does not change with this one."""
        return Figures(self.durations.copy(), Counter(self.errors), self.cancelled)

    def merge(self, other: Figures) -> None:
        """Add another process's."""
        self.durations.merge(other.durations)
        self.errors.update(other.errors)
        self.cancelled += other.cancelled

    def since(self, earlier: Figures | None) -> Figures:
        """Return what was measured after an earlier copy."""
        if earlier is None:
            return self.copy()
        later = self.durations.since(earlier.durations)
        return Figures(later, self.errors - earlier.errors, self.cancelled - earlier.cancelled)

    @property
    def error_rate(self) -> float | None:
        """Return the share of errors among what was not cancelled; None where nothing ended."""
        ended = self.durations.count - self.cancelled
        return self.errors.total() / ended if ended > 0 else None

    def shown(self) -> dict[str, Any]:
        """Return the guide's figures: counts, error rate, and times in milliseconds."""
        times = self.durations
        p50, p95, p99 = times.percentiles(0.50, 0.95, 0.99)
        return {
            "count": times.count,
            "errors": self.errors.total(),
            "error_rate": _round(self.error_rate),
            "success_rate": None if self.error_rate is None else _round(1 - self.error_rate),
            "error_types": dict(self.errors),
            "cancelled": self.cancelled,
            "average_ms": _round(times.average()),
            "p50_ms": _round(p50),
            "p95_ms": _round(p95),
            "p99_ms": _round(p99),
            "max_ms": _round(times.most_ms) if times.count else None,
            "total_ms": _round(times.sum_ms),
        }

    def wire(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {"times": self.durations.wire(), "errors": dict(self.errors), "cancelled": self.cancelled}

    @classmethod
    def of_wire(cls, data: dict[str, Any]) -> Figures:
        """Return what `wire` was given.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        errors = Counter({str(name): int(count) for name, count in data["errors"].items()})
        return cls(Histogram.of_wire(data["times"]), errors, int(data["cancelled"]))


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
