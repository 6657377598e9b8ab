"""How many lines were written, and what they cost."""

from __future__ import annotations

from typing import Any

from infrastructure.base.base_logger import LogLevel


class LineCounts:
    """Totals since the start of the process; whoever adds to them holds a lock."""

    __slots__ = ("by_level", "bytes", "dropped", "redacted", "spent_ns", "withheld", "write_errors")

    def __init__(self) -> None:
        self.by_level = {level.value: 0 for level in LogLevel}
        self.bytes = self.dropped = self.redacted = self.spent_ns = self.withheld = self.write_errors = 0

    def add(self, level: LogLevel, *, length: int, redacted: int, withheld: int) -> None:
        """Count a line of so many bytes over all outputs; of none when nobody took it."""
        self.by_level[level.value] += 1
        self.bytes += length
        self.dropped += not length
        self.redacted += redacted
        self.withheld += withheld

    def told(self) -> dict[str, Any]:
        """Return the totals: `dropped` lines reached no output, `redacted` and `withheld` values reached no line."""
        lines = sum(self.by_level.values())
        return {
            "lines": dict(self.by_level),
            "bytes": self.bytes,
            "dropped": self.dropped,
            "redacted": self.redacted,
            "withheld": self.withheld,
            "write_errors": self.write_errors,
            "mean_line_us": round(self.spent_ns / lines / 1_000, 2) if lines else None,
        }
