"""The end of a process whose shutdown hangs: a shutdown has a deadline, whatever a library waits for."""

from __future__ import annotations

import os
import threading
import time

from infrastructure.core.logger_core import get_logger

log = get_logger("ai-provider", "last_resort")

EXIT_STATUS = 1
LOOK_S = 0.5


class LastResort:
    """Ends the process by force at a deadline, from a thread of its own.

    Celery does a cold shutdown inside a signal handler, on top of whatever the main thread was doing: when that held a lock
    that the handler needs as well (of an event dispatcher, of a connection pool), both wait for ever. What the process
    still had is rescued like that of any dead worker.
    """

    def __init__(self) -> None:
        self._deadline: float | None = None

    def within(self, seconds: float) -> None:
        """End the process in so many seconds at the latest; an earlier deadline stays."""
        deadline = time.monotonic() + seconds
        armed = self._deadline is not None
        self._deadline = min(deadline, self._deadline) if self._deadline is not None else deadline
        if not armed:
            threading.Thread(target=self._watch, name="last-resort", daemon=True).start()

    def _watch(self) -> None:
        while (left_s := (self._deadline or 0) - time.monotonic()) > 0:
            time.sleep(min(left_s, LOOK_S))  # an Event has a lock, and this is also set from signal handlers
        # A logger's lock may be what the process hangs on: the line is written by yet another thread, or not at all.
        teller = threading.Thread(target=log.error, args=("Shutdown hangs, ending by force",), daemon=True)
        teller.start()
        teller.join(1)
        os._exit(EXIT_STATUS)
