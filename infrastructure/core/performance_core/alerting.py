"""What is too slow, too wrong or too much: found as bottlenecks, told as alerts when a limit is passed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from infrastructure.core.performance_core.figures import Figures
from infrastructure.core.performance_core.operations import REQUEST
from infrastructure.core.performance_core.snapshot import Snapshot

ENOUGH = 20  # fewer operations in the window say nothing of a percentile or a rate
BACK_AT = 0.9  # a limit must be left by a tenth before passing it is news again


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Limits; None is no limit.

    `response_time_p95_ms` and `error_rate` (0 to 1) are for each operation, in the last minute; `cpu_percent` (100 is one
    core) and `memory_percent` (of the machine) for each process.
    """

    response_time_p95_ms: float | None = 30_000.0
    error_rate: float | None = 0.2
    cpu_percent: float | None = 95.0
    memory_percent: float | None = 90.0
    concurrent_operations: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A limit that was passed: what was measured of an operation (or `process`), and the limit."""

    operation: str
    metric: str
    value: float
    threshold: float


AlertHook = Callable[[str, Passed], None]


def passed(
    operations: Mapping[str, tuple[Figures, int]], resources: Mapping[str, float], limits: Thresholds
) -> Iterator[Passed]:
    """Yield the limits that are passed; an operation is its recent figures and how many of it run."""
    for name, (recent, running) in operations.items():
        enough = recent.durations.count >= ENOUGH
        found = {
            "response_time_p95_ms": recent.durations.percentile(0.95) if enough else None,
            "error_rate": recent.error_rate if enough else None,
            "concurrent_operations": float(running),
        }
        yield from _over(name, found, limits)
    yield from _over("process", {name: resources.get(name) for name in ("cpu_percent", "memory_percent")}, limits)


def _over(operation: str, found: Mapping[str, float | None], limits: Thresholds) -> Iterator[Passed]:
    for metric, value in found.items():
        limit = getattr(limits, metric)
        if value is not None and limit is not None and value > limit:
            yield Passed(operation=operation, metric=metric, value=round(value, 3), threshold=limit)


class ThresholdWatch:
    """Looks at snapshots and tells each limit once when it is passed, and again only after it was left."""

    def __init__(self, service_name: str) -> None:
        self.thresholds = Thresholds()
        self._service = service_name
        self._passed: set[tuple[str, str]] = set()
        self._hooks: list[AlertHook] = [log_passed]

    def on_alert(self, hook: AlertHook) -> None:
        """Add a hook: it is called with the service's name and what was passed."""
        self._hooks.append(hook)

    def look(self, snapshot: Snapshot) -> None:
        """Tell what is new. A hook that fails hurts nobody."""
        operations = {name: (one.recent, one.running) for name, one in snapshot.operations.items()}
        now = {(one.operation, one.metric): one for one in passed(operations, snapshot.resources, self.thresholds)}
        for place, one in now.items():
            if place not in self._passed:
                self._tell(one)
        nearly = passed(operations, snapshot.resources, _scaled(self.thresholds))
        self._passed = now.keys() | (self._passed & {(one.operation, one.metric) for one in nearly})

    def _tell(self, one: Passed) -> None:
        for hook in self._hooks:
            try:
                hook(self._service, one)
            except Exception:  # noqa: BLE001, S112  measuring never breaks what it measures
                continue


def _scaled(limits: Thresholds) -> Thresholds:
    values = {name: getattr(limits, name) for name in Thresholds.__dataclass_fields__}
    return Thresholds(**{name: None if value is None else value * BACK_AT for name, value in values.items()})


def log_passed(service: str, one: Passed) -> None:
    """Tell the log: the hook that is there from the start."""
    from infrastructure.core.logger_core import get_logger  # the logger may be measured itself

    context = {**_spelled(one.operation), "reason": one.metric, "value": one.value, "threshold": one.threshold}
    get_logger(service, "performance_core").warning("Performance threshold was passed", context=context)


def _spelled(operation: str) -> dict[str, str]:
    """Return an operation's name under the keys that the log allows for its parts: a route has braces, a name none."""
    base, _, part = operation.partition(".")
    if base != REQUEST or not part:
        return {"operation": operation}
    method, _, route = part.partition(".")
    return {"operation": base, "method": method, "route": route}
