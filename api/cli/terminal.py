"""Whether there is a terminal that can hang up: SIGHUP means that it has gone, or, without one, a wish to reload."""

from __future__ import annotations

import os
import signal


def expected() -> bool:
    """Say whether this process has a terminal whose end is to be its own (under `nohup` it is not)."""
    return signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and is_there()


def is_there() -> bool:
    """Say whether this process has a controlling terminal; the kernel takes it away before it sends SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
