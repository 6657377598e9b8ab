"""Shows rows while they come, and the one table at the end."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.benchmarks.table import Table
from tests.chaos.rows import Row

COLUMNS = ["what", "figure", "limit", "ok"]


def say(text: str) -> None:
    """Print a line of progress at once."""
    print(text, flush=True)


def show(title: str, rows: Sequence[Row]) -> None:
    """Print all rows: with colours in a terminal, plainly elsewhere."""
    if sys.stdout.isatty():
        _show_in_colour(title, rows)
        return
    table = Table(title, COLUMNS)
    for row in rows:
        table.row(row.what, row.figure, row.limit, _word(row))
    table.show()


def _word(row: Row) -> str:
    return "ok" if row.ok else "BROKEN"


def _show_in_colour(title: str, rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable

    table = RichTable(title=title, title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows:
        table.add_row(row.what, row.figure, row.limit, _word(row), style=None if row.ok else "bold red")
    Console().print(table)
