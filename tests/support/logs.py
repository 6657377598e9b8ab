"""The log of this process, caught for a test."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from infrastructure.core.logger_core import configure_logging, logger_manager

FIELDS = ["timestamp", "level", "service", "service_id", "message", "module", "function", "context"]


class CaughtLog:
    """What was logged so far."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        """Return everything as it was written."""
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Return the lines, each with exactly the fields of a line, in order."""
        lines = [json.loads(line) for line in self.text.splitlines()]
        assert all(list(line) == FIELDS for line in lines)
        return lines

    @property
    def line(self) -> dict[str, Any]:
        """Return the only line."""
        (line,) = self.lines
        return line


@contextmanager
def caught_log(**options: Any) -> Iterator[CaughtLog]:
    """Catch our lines and the libraries'; the options are those of `configure_logging`."""
    log = CaughtLog()
    configure_logging("ai-provider", stream=log.stream, **options)
    try:
        yield log
    finally:
        logger_manager.close()
