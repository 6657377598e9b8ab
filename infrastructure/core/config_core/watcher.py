"""Notices that a configuration's files or secrets were replaced, in whatever way, and reloads.

The folder is watched, not the files: editors replace them by rename, Kubernetes swaps a link beside them. Every second the
files are looked at besides, for what the kernel does not tell: a folder behind a link, a network mount, another's secret.
A change is waited out: nothing may have moved for a moment. (A file that is gone is waited for by the reload itself.)
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from watchfiles import watch

from infrastructure.core.config_core.layers import FILE_SUFFIX
from infrastructure.core.config_core.names import secret_names
from infrastructure.core.config_core.reloader import Reloader
from infrastructure.core.config_core.sources import Sources
from infrastructure.core.logger_core import get_logger

LOOK_EVERY_MS = 1_000
STEP_MS = 100
QUIET_S = 0.15
SETTLED_WITHIN_S = 1.2
STOPPED_WITHIN_S = 5.0
_log = get_logger("ai-provider", "config")
Look = tuple[tuple[str, tuple[int, ...]], ...]


class Watcher:
    """A thread that reloads when something changed. Start and stop it, or use it as a context manager."""

    def __init__(self, reloader: Reloader) -> None:
        self._reloader = reloader
        self._stopping = threading.Event()
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Start the thread; what changed since the configuration was loaded is noticed at once."""
        self._thread = threading.Thread(target=self._run, name="config-watcher", daemon=True)
        self._reloader.watched = True
        self._thread.start()

    def stop(self) -> None:
        """End the thread, within 5 s."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOPPED_WITHIN_S)
        self._reloader.watched = False

    def ask(self, *_: Any) -> None:
        """Reload within a second, changed or not; safe in a signal handler, whose arguments it takes."""
        self._asked.set()

    def _run(self) -> None:
        seen: Look | None = None
        for _ in self._wakes():
            asked = self._asked.is_set()
            self._asked.clear()
            if asked:
                _log.info("Configuration is read again, as a signal asks")
            if asked or self._look() != seen:
                seen = self._settled()
                self._reload()

    def _reload(self) -> None:
        try:
            self._reloader.reload()
        except Exception as exc:  # noqa: BLE001  a defect of ours must not end the watch; the old configuration stays
            _log.error("Reload broke", exc=exc)

    def _wakes(self) -> Iterator[None]:
        """Yield at each change in the folder and at least every second, until stopped."""
        yield
        while not self._stopping.is_set():
            with suppress(OSError, RuntimeError):  # no folder yet, or the kernel has no watch to give
                for _ in watch(
                    self._reloader.sources.folder, watch_filter=None, debounce=4 * STEP_MS, step=STEP_MS,
                    rust_timeout=LOOK_EVERY_MS, yield_on_timeout=True, recursive=False, raise_interrupt=False,
                    stop_event=self._stopping,
                ):  # fmt: skip
                    yield
            if not self._stopping.wait(LOOK_EVERY_MS / 1000):
                yield

    def _settled(self) -> Look:
        """Wait until nothing moves, as long as that may take; return what is seen then."""
        give_up_at = time.monotonic() + SETTLED_WITHIN_S
        seen = self._look()
        while time.monotonic() < give_up_at and not self._stopping.wait(QUIET_S):
            again = self._look()
            if again == seen:
                break
            seen = again
        return seen

    def _look(self) -> Look:
        sources = self._reloader.sources
        files = sources.files(sources.which_environment([]))
        return look(sources, files, self._reloader.current.settings.providers)


def look(sources: Sources, files: Iterable[Path], providers: Iterable[str]) -> Look:
    """Return what can be told of the files and secrets without reading them: who they are, how long, since when."""
    with suppress(OSError):
        files = [*files, *(Path(entry.path) for entry in os.scandir(sources.secrets_dir))]
    return tuple((str(path), _told(path)) for path in [*files, *_elsewhere(sources, providers)])


def _elsewhere(sources: Sources, providers: Iterable[str]) -> list[Path]:
    """Return the secrets that variables name; other variables that end so name what is none of ours, a liveness file too."""
    said = sources.variables()
    given = (said.get(name + FILE_SUFFIX, "").strip() for name in secret_names(sources, providers))
    return [Path(path) for path in given if path]


def _told(path: Path) -> tuple[int, ...]:
    try:
        told = path.stat()
    except OSError as exc:
        return (exc.errno or 0,)
    return told.st_ino, told.st_dev, told.st_size, told.st_mtime_ns, told.st_ctime_ns
