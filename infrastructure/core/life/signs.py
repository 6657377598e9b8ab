"""The sign of life of one process: a file touched while it lives, whose content tells what it lacks to be ready."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from infrastructure.core.life.place import born, make_private, remove_leftovers, signs_folder

EVERY_S = 0.5
"""At most so often is the file touched, however often life is shown."""


class Signs:
    """Written by one process; safe from any of its threads. What goes wrong is told once, by `fault`, and never raised.

    `kind` is the kind of process, `service_id` its own name among them, `hung_s` the silence after which it is held to be
    hung, `url` where its front door answers probes, where it has one.
    """

    def __init__(self, *, kind: str, service_id: str, hung_s: float, url: str = "", folder: Path | None = None) -> None:
        self.fault: OSError | None = None
        self._told = {"kind": kind, "id": service_id, "pid": os.getpid(), "born": born(os.getpid()),
                      "hung_s": hung_s, "url": url}  # fmt: skip
        self._missing: tuple[str, ...] | None = None
        self._shown_s = float("-inf")
        self._lock = threading.Lock()
        self._path: Path | None = None
        try:
            folder = signs_folder() if folder is None else folder
            make_private(folder)
            remove_leftovers(folder)
            self._path = folder / f"{kind}-{os.getpid()}.json"
        except OSError as exc:
            self.fault = exc
        self.tell(("start",))

    def show(self) -> None:
        """Show that the process lives."""
        now_s = time.monotonic()
        if self._path is None or now_s - self._shown_s < EVERY_S:
            return
        self._shown_s = now_s
        try:
            os.utime(self._path)
        except OSError:
            self._missing, missing = None, self._missing  # somebody has tidied up: write it anew
            self.tell(missing or ())

    def tell(self, missing: Sequence[str]) -> None:
        """Tell what the process lacks to be ready; nothing: it is ready. Shows life too."""
        found = tuple(missing)
        with self._lock:
            if self._path is None or found == self._missing:
                return
            self._missing = found
            aside = self._path.with_suffix(".new")
            try:
                aside.write_text(json.dumps({**self._told, "missing": found}), "utf-8")
                aside.replace(self._path)
            except OSError as exc:
                self._missing, self.fault = None, exc

    def remove(self) -> None:
        """Take the sign away: the process ends in order."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._path = None
