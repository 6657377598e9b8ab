"""Ports for servers that a test starts: nobody else on the machine is given one while this process lives."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

LOWEST, HIGHEST = 20_000, 31_999
"""Below what Linux and macOS hand out by themselves, so that no connection of anybody takes one in between."""
_held: list[int] = []


def free_port() -> int:
    """Return a port that nobody listens on, and that no other test process is given as long as this one lives."""
    folder = Path(tempfile.gettempdir()) / f"aip-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for port in random.sample(range(LOWEST, HIGHEST + 1), k=200):
        if _claimed(folder / str(port)) and _is_free(port):
            return port
    raise AssertionError(f"expected one of 200 ports from {LOWEST} to {HIGHEST} to be free")


def _claimed(path: Path) -> bool:
    """Lock a port's file until this process ends; the processes that it starts do not inherit the lock."""
    claim = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(claim)
        return False
    _held.append(claim)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
