"""What a scenario found: a figure, the limit it must keep, whether it does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. A scenario gives at least one; the run fails when any is not ok."""

    what: str
    figure: str
    limit: str
    ok: bool


def exactly(what: str, figure: object, expected: object) -> Row:
    """Return a row whose figure must be this and nothing else."""
    return Row(what, str(figure), str(expected), figure == expected)


def at_most(what: str, figure: float, limit: float, *, unit: str = "") -> Row:
    """Return a row whose figure must not pass a limit; nan, the figure of nothing, passes every limit."""
    return Row(what, _shown(figure, unit), f"<= {_shown(limit, unit)}", figure <= limit)


def at_least(what: str, figure: float, limit: float, *, unit: str = "") -> Row:
    """Return a row whose figure must reach a limit."""
    return Row(what, _shown(figure, unit), f">= {_shown(limit, unit)}", figure >= limit)


def counted(what: str, figure: object) -> Row:
    """Return a row that only tells a figure."""
    return Row(what, str(figure), "counted", ok=True)


def scaled(full: int, scale: float, *, least: int = 1) -> int:
    """Return a count at a scale, never less than `least`."""
    return max(least, round(full * scale))


def _shown(value: float, unit: str) -> str:
    number = str(value) if isinstance(value, int) else f"{value:.4g}"
    return f"{number} {unit}".rstrip()
