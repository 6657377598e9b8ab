"""The performance tracker of a service: measures operations here, and sums up what the whole fleet measured."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, overload

from infrastructure.core.performance_core import operations
from infrastructure.core.performance_core.alerting import AlertHook, Thresholds, ThresholdWatch
from infrastructure.core.performance_core.operation import Operation, Series
from infrastructure.core.performance_core.resources import ResourceMeter
from infrastructure.core.performance_core.snapshot import Measured, Snapshot
from infrastructure.core.performance_core.summary import summary
from infrastructure.core.performance_core.window import Window

MOST_OPERATIONS = 300


class PerformanceTracker:
    """Measures by name. From any thread; measuring never raises and never waits.

    `clock_ns` is monotonic. At most `MOST_OPERATIONS` names are told apart, the rest, and what is no name, is `other`.
    """

    def __init__(self, service_name: str, *, clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self.service_name = service_name
        self._clock_ns = clock_ns
        self._began_ns = clock_ns()
        self._series: dict[str, Series] = {}
        self._lock = threading.RLock()  # as in Series
        self._window = Window()
        self._resources = ResourceMeter(lambda: clock_ns() / 1e9)
        self._amounts: dict[str, float] = {}
        self._optimizations: dict[str, dict[str, Any]] = {}
        self._watch = ThresholdWatch(service_name)
        self._others: tuple[Snapshot, ...] = ()

    @overload
    def track_operation(self, name: str) -> Operation: ...

    @overload
    def track_operation(self, name: str, value_ms: float, *, error: str | None = None) -> None: ...

    def track_operation(
        self, name: str, value_ms: float | None = None, *, error: str | None = None
    ) -> Operation | None:
        """Measure a block (`with` or `async with`), or count an operation that took `value_ms` milliseconds.

        `error` is the type of the error that it ended with; of a block it is the exception's class.
        """
        try:
            series = self._series[name]
        except (KeyError, TypeError):
            series = self._new_series(name)
        if value_ms is None:
            return Operation(series, self._clock_ns)
        try:
            series.add(value_ms, error)
        except (TypeError, ValueError, OverflowError):  # measuring never breaks what it measures
            series.rejected += 1
        return None

    def add_amount(self, name: str, amount: float) -> None:
        """Add to a sum that is no duration, such as what a provider's calls cost."""
        if not (operations.is_name(name) and isinstance(amount, (int, float)) and math.isfinite(amount)):
            return
        with self._lock:
            whole = self._amounts.get(name, 0.0) + amount
            if math.isfinite(whole) and (name in self._amounts or len(self._amounts) < MOST_OPERATIONS):
                self._amounts[name] = whole

    def set_optimization(self, name: str, *, enabled: bool, **facts: Any) -> None:
        """Say whether an optimization (`optimizations.NAMES`) is switched on; its effect is measured, not said."""
        self._optimizations[name] = {"enabled": enabled, **facts}

    def set_thresholds(self, thresholds: Thresholds) -> None:
        """Set what is too slow, too wrong or too much; alerts and bottlenecks go by it."""
        self._watch.thresholds = thresholds

    def on_alert(self, hook: AlertHook) -> None:
        """Have a hook told of each threshold that was passed, beside the log."""
        self._watch.on_alert(hook)

    def tick(self) -> Snapshot:
        """Move the window on, measure the process, look at the thresholds: every few seconds, by whoever publishes."""
        self._resources.sample()
        snapshot = self.snapshot()
        self._window.push(self._now_s(), {name: one.total for name, one in snapshot.operations.items()})
        self._watch.look(snapshot)
        return snapshot

    def snapshot(self) -> Snapshot:
        """Return all that this process has measured; counts are absolute, since its start."""
        now_s = self._now_s()
        if not self._resources.last:
            self._resources.sample()
        with self._lock:
            series, amounts = dict(self._series), dict(self._amounts)
        since_s, earlier = self._window.oldest(now_s)
        measured = {}
        for name, one in series.items():
            total = one.copy()
            measured[name] = Measured(total, total.since(earlier.get(name)), one.running, one.peak, one.rejected)
        return Snapshot(
            uptime_ms=1_000 * now_s,
            window_ms=1_000 * (now_s - since_s),
            operations=measured,
            amounts=amounts,
            resources=self._resources.last,
            optimizations={name: dict(facts) for name, facts in self._optimizations.copy().items()},
        )

    def hear(self, others: Iterable[Snapshot]) -> None:
        """Take in the newest snapshots of the other processes: from now on `get_summary` is theirs too."""
        self._others = tuple(others)

    def get_summary(self) -> dict[str, Any]:
        """Return what the fleet measured: this process now, and the others as they were heard of last."""
        return summary([self.snapshot(), *self._others], self._watch.thresholds)

    def _new_series(self, name: object) -> Series:
        with self._lock:
            room = len(self._series) < MOST_OPERATIONS
            known = name if operations.is_name(name) and room else operations.OTHER
            return self._series.setdefault(known, Series())

    def _now_s(self) -> float:
        return (self._clock_ns() - self._began_ns) / 1e9


@functools.cache
def get_performance_tracker(service: str) -> PerformanceTracker:
    """Return the service's tracker: one for each name in a process."""
    return PerformanceTracker(service)
