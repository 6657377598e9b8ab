"""What the command line writes: for a person on a terminal with colours and tables, otherwise plain lines."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_green", "bright_magenta")
STYLES = {"completed": "green", "failed": "red", "expired": "red", "cancelled": "yellow", "in_progress": "cyan"}
NAME_WIDTH = 8
SMALLEST_USD = 0.000001
COLUMN_GAP = 2
# What makes a terminal do something, or shows text in another order; answers and errors come from outside.
_ACTING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def stdout() -> Console:
    """Return the console of what was asked for: without colours and without broken lines when it is no terminal."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty(), markup=False, emoji=False)


def stderr() -> Console:
    """Return the console of what is said besides."""
    return Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def harmless(text: str) -> str:
    """Return a text without what would act on a terminal; lines and tabs stay."""
    return _ACTING.sub("", text)


def say(text: str = "", *, style: str = "") -> None:
    """Write a line; a file or a pipe gets it letter for letter."""
    console = stdout()
    if console.is_terminal:
        console.print(harmless(text), style=style or None)
        return
    try:  # rich would make blanks of tabs
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        console.on_broken_pipe()


def note(text: str) -> None:
    """Write a line besides what was asked for, which may be piped on."""
    stderr().print(harmless(text), style="dim")


def fail(message: str) -> None:
    """Write why a command failed: one line on standard error."""
    console = stderr()
    console.print(Text.assemble(("error: ", "bold red"), harmless(" ".join(message.split()))))


def dump(value: Any) -> None:
    """Write a value as JSON."""
    text = json.dumps(value, indent=2 if sys.stdout.isatty() else None, ensure_ascii=False)
    sys.stdout.write(_ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, titled: bool = False, spare: Sequence[str] = ()
) -> None:
    """Write rows: as a table on a terminal, else as lines of tab-separated fields, with headings where `titled`.

    Of the columns `spare` a terminal that is too narrow for all gets fewer, the first of them last.
    """
    console = stdout()
    if not console.is_terminal:
        for row in [headings, *rows] if titled else rows:
            sys.stdout.write("\t".join(harmless(" ".join(cell.split())) for cell in row) + "\n")
        return
    headings, rows = _fitting(headings, rows, list(spare), within=console.width)
    drawn = Table(box=None, header_style="bold", pad_edge=False, padding=(0, COLUMN_GAP, 0, 0))
    for heading in headings:
        drawn.add_column(heading, overflow="fold", no_wrap=heading == "id")
    for row in rows:
        drawn.add_row(*(Text(harmless(cell), style=STYLES.get(cell, "")) for cell in row))
    console.print(drawn)


def _fitting(
    headings: Sequence[str], rows: Sequence[Sequence[str]], spare: list[str], *, within: int
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return a table without as many of the columns `spare` as it takes to fit, the last of them first."""
    while spare:
        widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
        if sum(widths) + COLUMN_GAP * (len(widths) - 1) <= within:
            break
        kept = [place for place, name in enumerate(headings) if name != spare[-1]]
        spare = spare[:-1]
        headings, rows = [headings[place] for place in kept], [[row[place] for place in kept] for row in rows]
    return headings, rows


def fields(pairs: Sequence[tuple[str, str]]) -> None:
    """Write names with their values, aligned."""
    console = stdout()
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        console.print(Text.assemble((f"  {name:<{width}}  ", "bold"), harmless(value)), soft_wrap=True)


def age(stamp: str | None) -> str:
    """Return how long ago an RFC 3339 instant was, in one unit; `-` where there is none."""
    if not stamp:
        return "-"
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def usd(cost: float | None) -> str:
    """Return a cost, below a dollar always with six digits, so that columns of them align; an unknown one is said to be."""
    if cost is None:
        return "unknown"
    if cost >= 1 or cost == 0:
        return f"${cost:,.2f}"
    return f"${cost:.6f}" if cost >= SMALLEST_USD else f"under ${SMALLEST_USD:f}"


def command_name() -> str:
    """Return how this program is called from where the person stands."""
    if shutil.which("ai-provider"):
        return "ai-provider"
    return os.path.relpath(Path(sys.argv[0])) if sys.argv[0] else "ai-provider"


class Log:
    """One log of many processes: each line under its process's name, in the name's colour on a terminal."""

    def __init__(self) -> None:
        self._console = stdout()
        self._colours: dict[str, str] = {}

    def __call__(self, name: str, line: str) -> None:
        """Write a line. When nobody reads a pipe any more rich ends the program, in order."""
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        with contextlib.suppress(OSError):  # the terminal is gone; SIGHUP stops everything
            self._console.print(Text.assemble((f"{name:<{NAME_WIDTH}} │ ", colour), harmless(line)), soft_wrap=True)


class FileLog:
    """The log of the processes, kept out of the way of the display."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("w", encoding="utf-8", buffering=1)
        path.chmod(0o600)

    def __call__(self, name: str, line: str) -> None:
        """Write a line."""
        self._file.write(f"{name:<{NAME_WIDTH}} | {line}\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
