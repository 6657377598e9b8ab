"""Reads a file of the configuration without ever waiting for one: a pipe or a device in its place is told, not opened to."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class NotRegular(Exception):
    """What stands at a path is no regular file."""


def read_regular(path: Path, at_most: int) -> bytes:
    """Return the first `at_most` bytes of a file.

    Raises:
        NotRegular: it is a pipe, a socket or a device.
        OSError: there is none, it is a folder, or it cannot be read.
    """
    # Without O_NONBLOCK the opening of a pipe waits for whoever writes into it.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise NotRegular
        return file.read(at_most)
