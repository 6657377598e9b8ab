"""The error handler of a service: every error classified, counted, reported, and answered with what to do next."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from structlog.contextvars import get_contextvars

from infrastructure.core.error_core.classification import Classification, Severity, classify
from infrastructure.core.error_core.context import Scalar, ids_only
from infrastructure.core.error_core.recovery import GIVE_UP, Fallback, Recovery, Retry, Strategies
from infrastructure.core.error_core.reporting import AlertHook, Alerts, Report, log_alert

T = TypeVar("T")
ALERT_COUNT = 20
ALERT_WINDOW_S = 60.0
MOST_CODES = 200
OTHER = "other"
_REPORTED = frozenset({Severity.ERROR, Severity.CRITICAL})
_ALERTING = _REPORTED | {Severity.WARNING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What the handler made of an error. `context` holds ids and figures only."""

    classification: Classification
    context: dict[str, Scalar]
    recovery: Recovery


class ErrorHandler:
    """Handles the errors of one service, from any thread. Handling never raises.

    `clock` is monotonic, in seconds.
    """

    def __init__(self, service_name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.service_name = service_name
        self._clock = clock
        self._strategies = Strategies()
        self._lock = threading.Lock()
        self._by_class: Counter[str] = Counter()
        self._by_code: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._report: Report | None = None
        self._hooks: list[AlertHook] = [log_alert]
        self._alerts = Alerts(count=ALERT_COUNT, window_s=ALERT_WINDOW_S, clock=clock)

    def register(self, kind: type[BaseException], recovery: Recovery) -> None:
        """Set what follows errors of a class and its subclasses.

        Raises:
            TypeError: `kind` is no class of exceptions, or `recovery` no recovery.
        """
        self._strategies.register(kind, recovery)

    def alert_above(self, count: int, *, window_s: float) -> None:
        """Alert when this many errors of one class (the caller's own faults aside) came within `window_s` seconds.

        Raises:
            ValueError: the count or the time is none.
        """
        self._alerts.set(count, window_s=window_s)

    def on_alert(self, hook: AlertHook) -> None:
        """Have a hook told of each alert, beside the log."""
        if hook not in self._hooks:
            self._hooks.append(hook)

    def report_to(self, report: Report | None) -> None:
        """Have each error of severity `error` or `critical` reported there, in place of where it went before."""
        self._report = report

    def handle(self, exc: BaseException, context: Mapping[str, Any] | None = None) -> Handled:
        """Classify, count and report an error; return its meaning and what to do next.

        Of `context`, and of the ids bound to the request or job, only ids and figures are kept.
        """
        meaning = classify(exc)
        kept = ids_only({**get_contextvars(), **(context or {})})
        with self._lock:
            self._by_class[meaning.error_class.value] += 1
            code = meaning.code if meaning.code in self._by_code or len(self._by_code) < MOST_CODES else OTHER
            self._by_code[code] += 1
            alert = self._alerts.passed(self.service_name, meaning) if meaning.severity in _ALERTING else None
        if alert is not None:
            for hook in self._hooks:
                self._safely(hook, alert)
        if self._report is not None and meaning.severity in _REPORTED:
            self._safely(self._report, exc, meaning, kept)
        return Handled(classification=meaning, context=kept, recovery=self._strategies.find(exc))

    async def recovering(
        self,
        work: Callable[[], Awaitable[T]],
        *,
        context: Mapping[str, Any] | None = None,
        within_s: float,
    ) -> T:
        """Return what `work` returns, run again, or replaced, as the registered recoveries say.

        Raises:
            Exception: what `work` raised last: nothing is registered for it, or its retries or `within_s` seconds are used.
        """
        until, attempt = self._clock() + within_s, 0
        while True:
            attempt += 1
            try:
                value = await work()
            except Exception as exc:
                recovery = self.handle(exc, {**(context or {}), "attempt": attempt}).recovery
                pause_s = self._pause_s(recovery, exc, attempt=attempt)
                if isinstance(recovery, Fallback):
                    self._count("fell_back")
                    replacement: T = recovery.make(exc)  # who registers it vouches for its type
                    return replacement
                if pause_s is None or self._clock() + pause_s >= until:
                    self._count("given_up")
                    raise
                self._count("retried")
                await asyncio.sleep(pause_s)
            else:
                if attempt > 1:
                    self._count("recovered")
                return value

    def get_metrics(self) -> dict[str, Any]:
        """Return counts since the start: `by_class`, `by_code`, and what recovery did."""
        with self._lock:
            return {
                "total": self._by_class.total(),
                "by_class": dict(self._by_class),
                "by_code": dict(self._by_code),
                **{name: self._outcomes[name] for name in _OUTCOMES},
            }

    @staticmethod
    def _pause_s(recovery: Recovery, exc: BaseException, *, attempt: int) -> float | None:
        if isinstance(recovery, Retry) and recovery.allows(attempt):
            return recovery.pause_s(exc, attempt=attempt)
        return None

    def _count(self, outcome: str) -> None:
        with self._lock:
            self._outcomes[outcome] += 1

    def _safely(self, hook: Callable[..., None], *args: Any) -> None:
        """Call a hook; one that fails is counted, and hurts neither the others nor the work."""
        try:
            hook(*args)
        except Exception:  # noqa: BLE001  whatever a hook does wrong, the error at hand comes first
            self._count("hooks_failed")
        else:
            self._count("told")


_OUTCOMES = ("retried", "recovered", "fell_back", "given_up", "told", "hooks_failed")


@functools.cache
def get_error_handler(service: str) -> ErrorHandler:
    """Return the service's error handler: one for each name in a process, so that its counts are the process's."""
    return ErrorHandler(service)


__all__ = ["GIVE_UP", "ErrorHandler", "Handled", "get_error_handler"]
