"""The recent past, as the difference of two absolute counts: nothing is counted twice, and measuring costs no more."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from infrastructure.core.performance_core.figures import Figures

WINDOW_S = 60.0
MOST_MARKS = 64
NOTHING: Mapping[str, Figures] = {}


class Window:
    """Remembers what had been counted at moments of the last minute, in seconds on the caller's clock."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, Mapping[str, Figures]]] = deque(maxlen=MOST_MARKS)

    def push(self, now_s: float, counted: Mapping[str, Figures]) -> None:
        """Remember what has been counted by now."""
        while len(self._marks) > 1 and self._marks[1][0] <= now_s - WINDOW_S:
            self._marks.popleft()
        self._marks.append((now_s, counted))

    def oldest(self, now_s: float) -> tuple[float, Mapping[str, Figures]]:
        """Return a moment about a minute ago and what had been counted by then; the start, while that is nearer."""
        marks = tuple(self._marks)  # at once: another thread may push meanwhile
        if not marks or now_s <= WINDOW_S:
            return 0.0, NOTHING
        return next((mark for mark in reversed(marks) if mark[0] <= now_s - WINDOW_S), marks[0])
