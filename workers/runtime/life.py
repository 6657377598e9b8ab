"""How a worker process shows that it lives, by both of its threads, and what it lacks to be ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from infrastructure.core.life.signs import Signs

PULSE_EVERY_S = 1.0
CONSUMES_FOR_S = 10.0
"""So long counts what the consumer last said of itself: one that is busy or waits for a lost broker says nothing new."""


class WorkerLife:
    """The consumer's thread touches the sign, as long as the loop's thread has a pulse: a process lives when both do."""

    def __init__(self, signs: Signs, *, hung_s: float) -> None:
        self._signs = signs
        self._patience_s = hung_s / 2
        self._pulse_s = time.monotonic()
        self._consumed_s = float("-inf")

    def show(self, *, consuming: bool) -> None:
        """Show life, and say whether messages are being taken (the consumer's thread)."""
        now_s = time.monotonic()
        self._consumed_s = now_s if consuming else float("-inf")
        if now_s - self._pulse_s < self._patience_s:
            self._signs.show()

    def end(self) -> None:
        """Take the sign away: the process ends in order."""
        self._signs.remove()

    async def keep(self, lacks: Callable[[], Sequence[str]]) -> None:
        """Keep the pulse, and tell what is lacking, until cancelled (the loop's thread)."""
        while True:
            self._pulse_s = time.monotonic()
            consumes = self._pulse_s - self._consumed_s < CONSUMES_FOR_S
            self._signs.tell((*lacks(), *(() if consumes else ("broker",))))
            await asyncio.sleep(PULSE_EVERY_S)
