"""A log file of one process that never grows beyond its bound."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

MAX_BYTES = 10_000_000
FILES = 5
PROCESSES = 100
LOOK_S = 1.0


class RotatingFile:
    """Writes to `{stem}.1.log` in a folder; when it is full it becomes `….log.1`, and the oldest is deleted.

    Processes of one kind share the folder: each takes the first number that no living one has, by a lock that the system
    gives back when the process dies (and takes another when somebody deletes the lock). So the space taken is at most `files` times `max_bytes` for each process that runs at
    the same time. A file that somebody moves or deletes is made anew within a second.
    """

    def __init__(
        self,
        folder: Path,
        *,
        stem: str,
        max_bytes: int = MAX_BYTES,
        files: int = FILES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._stem = stem
        self._max_bytes = max_bytes
        self._files = files
        self._clock = clock
        self._lock: int | None = None
        self._fd: int | None = None
        self._size = 0
        self._looked = 0.0
        self.path: Path | None = None

    def write(self, text: str) -> int:
        """Append one line and return its length in bytes.

        Raises:
            OSError: it could not be written; nothing of it is in the file.
        """
        data = text.encode("utf-8", "backslashreplace") + b"\n"
        descriptor = self._ready(len(data))
        written = os.write(descriptor, data)
        if written < len(data):  # the disk is full: half a line would spoil the next one too
            os.ftruncate(descriptor, self._size)
            raise OSError("expected the log file to take the whole line")
        self._size += written
        return written

    def close(self) -> None:
        """Close the file and give its number back."""
        for descriptor in (self._fd, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._fd = self._lock = self.path = None

    def _ready(self, coming: int) -> int:
        """Return the descriptor of a file that has room."""
        now = self._clock()
        if self._fd is not None and now - self._looked >= LOOK_S:
            self._looked = now
            self._close_if_moved()
        if self.path is None:
            self.path = self._claim()
        if self._fd is None:
            self._open(self.path)
        if self._size and self._size + coming > self._max_bytes:
            self._rotate(self.path)
        assert self._fd is not None  # noqa: S101  opened above
        return self._fd

    def _claim(self) -> Path:
        """Take the first number that no living process has."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, PROCESSES + 1):
            name = f"{self._stem}.{number}"
            lock = os.open(_lock_of(self._folder / f"{name}.log"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            except OSError:
                os.close(lock)
                raise
            self._lock = lock
            return self._folder / f"{name}.log"
        raise OSError(f"expected at most {PROCESSES} processes to log there")

    def _open(self, path: Path) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._fd, self._size = descriptor, os.fstat(descriptor).st_size

    def _close_if_moved(self) -> None:
        """Close a file that is not there any more; with its lock gone too the number may be another process's by now."""
        assert self.path is not None and self._fd is not None and self._lock is not None  # noqa: S101, PT018  all open
        if not _is(self._lock, _lock_of(self.path)):
            self.close()
        elif not _is(self._fd, self.path):
            os.close(self._fd)
            self._fd = None

    def _rotate(self, path: Path) -> None:
        """Move each file one place on, over the oldest, and begin anew."""
        assert self._fd is not None  # noqa: S101  the caller has opened it
        os.close(self._fd)
        self._fd = None
        names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, self._files))]
        for newer, older in reversed(list(pairwise(names))):
            if newer.exists():
                newer.replace(older)
        if self._files == 1:
            path.unlink(missing_ok=True)
        self._open(path)


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.stem}.lock")


def _is(descriptor: int, path: Path) -> bool:
    """Say whether a path still leads to what was opened there."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
