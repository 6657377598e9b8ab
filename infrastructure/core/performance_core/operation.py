"""One measured operation: a `with` block, sync or async, that costs little and breaks nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from math import isfinite
from types import TracebackType
from typing import Self

from infrastructure.core.performance_core.figures import Figures
from infrastructure.core.performance_core.histogram import MOST_MS
from infrastructure.core.performance_core.operations import OTHER, is_name

MOST_ERROR_TYPES = 50
_CANCELLED = (asyncio.CancelledError, CancelledError, GeneratorExit)


class Series:
    """All that is known of one operation in this process. From any thread: a lock guards each change."""

    __slots__ = ("_lock", "figures", "peak", "rejected", "running")

    def __init__(self) -> None:
        self._lock = threading.RLock()  # the collector may end an abandoned block while this thread holds it
        self.figures = Figures()
        self.running = 0
        self.peak = 0
        self.rejected = 0

    def begin(self) -> None:
        """Count one more that runs."""
        with self._lock:
            running = self.running = self.running + 1
            if running > self.peak:  # noqa: PLR1730  as in Histogram.add
                self.peak = running

    def end(self, value_ms: float, error: str | None, *, cancelled: bool) -> None:
        """Count one that ran to its end."""
        with self._lock:
            self.running -= 1
            self._add(value_ms, error, cancelled=cancelled)

    def add(self, value_ms: float, error: str | None) -> None:
        """Count one that was measured elsewhere."""
        with self._lock:
            self._add(value_ms, error, cancelled=False)

    def copy(self) -> Figures:
        """Return the figures as they are now."""
        with self._lock:
            return self.figures.copy()

    def _add(self, value_ms: float, error: str | None, *, cancelled: bool) -> None:
        if not (isfinite(value_ms) and 0 <= value_ms <= MOST_MS):
            self.rejected += 1
            return
        figures = self.figures
        figures.durations.add(value_ms)
        if error is not None:
            known = is_name(error) and (error in figures.errors or len(figures.errors) < MOST_ERROR_TYPES)
            figures.errors[error if known else OTHER] += 1
        elif cancelled:
            figures.cancelled += 1


class Operation:
    """Measures the block under it: `with` and `async with` do the same. Each is for one block.

    A slotted class and not `contextlib.contextmanager`: a generator costs more than all the rest of it.
    """

    __slots__ = ("_began_ns", "_clock_ns", "_error", "_series")

    def __init__(self, series: Series, clock_ns: Callable[[], int]) -> None:
        self._series = series
        self._clock_ns = clock_ns
        self._error: str | None = None

    def fail(self, error_type: str) -> None:
        """Count this operation as an error of a type, although no exception comes out of it."""
        self._error = error_type

    def __enter__(self) -> Self:
        self._series.begin()
        self._began_ns = self._clock_ns()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        value_ms = (self._clock_ns() - self._began_ns) / 1e6
        if kind is None:
            self._series.end(value_ms, self._error, cancelled=False)
        elif issubclass(kind, _CANCELLED):
            self._series.end(value_ms, self._error, cancelled=True)
        else:
            self._series.end(value_ms, self._error or kind.__name__, cancelled=False)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, at)
