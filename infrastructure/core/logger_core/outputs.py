"""Where lines go: a stream, and a file where a folder is given; neither can break who logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from infrastructure.core.logger_core.rendering import as_ascii, as_console, as_json
from infrastructure.core.logger_core.rotating_file import RotatingFile

AGAIN_S = 5.0


class Outputs:
    """Writes each line to the stream, in its format, and to the file, in JSON.

    A line that cannot be written is lost there and counted in `errors`; the file is tried again 5 s later. `on_trouble` is
    told once when the file stops taking lines.
    """

    def __init__(
        self,
        *,
        stream: TextIO | None = None,
        file: RotatingFile | None = None,
        on_trouble: Callable[[BaseException], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.errors = 0
        self.length = 0
        self._stream = stream
        self._file = file
        self._on_trouble = on_trouble
        self._clock = clock
        self._again_at: float | None = None

    @property
    def names(self) -> list[str]:
        """Return which outputs there are."""
        return ["stream", "file"] if self._file is not None else ["stream"]

    def write(self, line: dict[str, Any], output_format: str) -> None:
        """Write a line to every output; `length` is then how many bytes they took."""
        text = as_json(line)
        self.length = self._to_stream(text if output_format == "json" else self._for_person(line))
        if self._file is not None:
            self.length += self._to_file(self._file, text)

    def close(self) -> None:
        """Close the file; the stream belongs to whoever gave it."""
        if self._file is not None:
            self._file.close()

    def _target(self) -> TextIO:
        return sys.stdout if self._stream is None else self._stream

    def _for_person(self, line: dict[str, Any]) -> str:
        return as_console(line, colours=self._target().isatty())

    def _to_stream(self, text: str) -> int:
        try:
            stream = self._target()
            try:
                stream.write(text + "\n")
            except UnicodeEncodeError:
                stream.write(as_ascii(text) + "\n")
            stream.flush()
        except Exception:  # noqa: BLE001  closed, broken, full or None: who logs must not hear of it
            self.errors += 1
            return 0
        return len(text) + 1

    def _to_file(self, file: RotatingFile, text: str) -> int:
        if self._again_at is not None and self._clock() < self._again_at:
            return 0
        try:
            length = file.write(text)
        except Exception as exc:  # noqa: BLE001  a full disk, a folder that is gone: the service goes on
            self.errors += 1
            first, self._again_at = self._again_at is None, self._clock() + AGAIN_S
            if first:
                self._on_trouble(exc)
            return 0
        self._again_at = None
        return length
