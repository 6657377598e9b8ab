"""What one process has measured, as a value: published, merged, never added up twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from infrastructure.core.performance_core.figures import Figures
from infrastructure.core.performance_core.histogram import ERROR


@dataclass(frozen=True, slots=True)
class Measured:
    """One operation in one process: since the start, and in the window."""

    total: Figures
    recent: Figures
    running: int = 0
    peak: int = 0
    rejected: int = 0

    def wire(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        counts = {"running": self.running, "peak": self.peak, "rejected": self.rejected}
        return {"total": self.total.wire(), "recent": self.recent.wire(), **counts}

    @classmethod
    def of_wire(cls, data: dict[str, Any]) -> Measured:
        """Return what `wire` was given."""
        total, recent = Figures.of_wire(data["total"]), Figures.of_wire(data["recent"])
        return cls(total, recent, int(data["running"]), int(data["peak"]), int(data["rejected"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One process at one moment: `window_ms` is how long its recent past is, `resources` what it uses."""

    uptime_ms: float
    window_ms: float
    operations: dict[str, Measured]
    amounts: dict[str, float] = field(default_factory=dict)
    resources: dict[str, float] = field(default_factory=dict)
    optimizations: dict[str, dict[str, Any]] = field(default_factory=dict)

    def wire(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {
            "uptime_ms": self.uptime_ms,
            "window_ms": self.window_ms,
            "operations": {name: one.wire() for name, one in self.operations.items()},
            "amounts": self.amounts,
            "resources": self.resources,
            "optimizations": self.optimizations,
            "error": ERROR,
        }

    @classmethod
    def of_wire(cls, data: dict[str, Any]) -> Snapshot:
        """Return what `wire` was given.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is something else, such as another version's.
        """
        if data.get("error", ERROR) != ERROR:
            raise ValueError("expected histograms with the same buckets as ours")
        return cls(
            uptime_ms=float(data["uptime_ms"]),
            window_ms=float(data["window_ms"]),
            operations={str(name): Measured.of_wire(one) for name, one in data["operations"].items()},
            amounts={str(name): float(value) for name, value in data["amounts"].items()},
            resources={str(name): float(value) for name, value in data["resources"].items()},
            optimizations={str(name): dict(facts) for name, facts in data["optimizations"].items()},
        )
