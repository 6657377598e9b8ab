"""Ends the supervised processes when their supervisor dies without having done so: `python -m api.cli.guardian`.

The supervisor writes `+pid` and `-pid` lines to its standard input as processes come and go (each leads a session of its
own); the end of that input, which the system sees to whatever way the supervisor ends, is the sign. Nothing is asked of
the processes themselves, and it works where the kernel has no death signal for children.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable

GRACE_S = 8.0
LOOK_EVERY_S = 0.05


def main() -> None:
    """Keep the list until the input ends, then end what is still on it."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # it ends after everybody else
    end_groups(read_list(sys.stdin))


def read_list(lines: Iterable[str]) -> set[int]:
    """Return the process groups that were added and not taken off again."""
    groups: set[int] = set()
    for line in lines:
        sign, number = line[:1], line[1:].strip()
        if not number.isdigit() or int(number) <= 1:  # killpg(0) and (1) would hit others
            continue
        if sign == "+":
            groups.add(int(number))
        elif sign == "-":
            groups.discard(int(number))
    return groups


def end_groups(groups: set[int], *, grace_s: float = GRACE_S) -> None:
    """Ask process groups to end, and kill what is left of them after `grace_s` seconds."""
    left = {group for group in groups if send(group, signal.SIGTERM)}
    deadline = time.monotonic() + grace_s
    while left and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
        left = {group for group in left if send(group, 0)}
    for group in left:
        send(group, signal.SIGKILL)


def send(group: int, signum: int) -> bool:
    """Send a signal to a process group (0: none, only look); False when the group is gone or not ours."""
    try:
        os.killpg(group, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
