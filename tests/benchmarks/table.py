"""Plain tables for measurements."""

from __future__ import annotations


class Table:
    """Rows under a title, printed with aligned columns."""

    def __init__(self, title: str, columns: list[str]) -> None:
        self._title = title
        self._rows = [columns]

    def row(self, *cells: object) -> None:
        """Add a row."""
        self._rows.append([str(cell) for cell in cells])

    def show(self) -> None:
        """Print the table."""
        widths = [max(len(row[column]) for row in self._rows) for column in range(len(self._rows[0]))]
        print(f"\n{self._title}", flush=True)
        for number, row in enumerate(self._rows):
            cells = [
                cell.ljust(widths[0]) if not place else cell.rjust(widths[place]) for place, cell in enumerate(row)
            ]
            print("  " + "  ".join(cells), flush=True)
            if number == 0:
                print("  " + "  ".join("-" * width for width in widths), flush=True)
