"""File locks that end with the processes that hold them, whatever way those end."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

LOOK_EVERY_S = 0.02


class FileLock:
    """An advisory lock (flock) on a file of its own.

    It belongs to the open file: a process that inherits `descriptor` holds it too, and it ends when the last of them has
    closed it or died.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """Return the open, locked file, to be handed on to a child."""
        if self._descriptor is None:
            raise RuntimeError(f"expected {self._path.name} to be locked, got a lock that is not held")
        return self._descriptor

    def acquire(self, *, shared: bool = False, within_s: float = 0.0) -> bool:
        """Take the lock, waiting at most `within_s` seconds; say whether it was got."""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        deadline = time.monotonic() + within_s
        while True:
            try:
                fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    self.close()
                    return False
                time.sleep(LOOK_EVERY_S)
            else:
                return True

    def release(self) -> None:
        """Give the lock up for everybody who inherited it too."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self.close()

    def close(self) -> None:
        """Close our end only: whoever inherited the lock keeps it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
