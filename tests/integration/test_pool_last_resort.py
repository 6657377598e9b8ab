"""A process whose shutdown hangs is ended by force, in time."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.support.machine import in_time

HANGS = """
import threading, time
from workers.pool.last_resort import LastResort
last = LastResort()
last.within({first})
last.within({second})
lock = threading.Lock()
lock.acquire()
print("hanging", flush=True)
lock.acquire()
"""


def ended_after_s(first: float, second: float) -> tuple[int, float]:
    """Return the exit status of a process that waits for itself, and how long it took."""
    command = [sys.executable, "-c", HANGS.format(first=first, second=second)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"hanging\n"
        began = time.monotonic()
        status = process.wait(60)
        return status, time.monotonic() - began


def test_a_shutdown_that_hangs_is_ended_by_force() -> None:
    assert ended_after_s(0.2, 60)[0] == 1


def test_a_later_deadline_may_be_brought_forward() -> None:
    status, took_s = ended_after_s(60, 0.2)
    assert status == 1
    assert in_time(took_s, 20)
