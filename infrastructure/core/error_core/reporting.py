"""Telling people: alerts when errors come too fast, and reports of single ones to where they are collected."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infrastructure.core.error_core.classification import Classification, Severity, place

MOST_REMEMBERED = 10_000
SENTRY_CLOSE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Errors of one class passed the threshold: `count` of them within `window_ms`; `code` is that of the last."""

    service: str
    error_class: str
    code: str
    count: int
    window_ms: float


AlertHook = Callable[[Alert], None]
Report = Callable[[BaseException, Classification, Mapping[str, Any]], None]


class Alerts:
    """Counts errors by class in a sliding window; passing the threshold is told once a window."""

    def __init__(self, *, count: int, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.set(count, window_s=window_s)
        self._clock = clock
        self._seen: dict[str, deque[float]] = {}
        self._told_at: dict[str, float] = {}

    def set(self, count: int, *, window_s: float) -> None:
        """Change the threshold; what was counted stays counted.

        Raises:
            ValueError: nothing could ever pass it, or everything would.
        """
        if not 1 <= count <= MOST_REMEMBERED or not window_s > 0:
            raise ValueError(f"expected a count of 1 to {MOST_REMEMBERED} within a time, got {count} in {window_s} s")
        self._count, self._window_s = count, window_s

    def passed(self, service: str, meaning: Classification) -> Alert | None:
        """Count one error; return the alert to tell, None when there is none or it was told in this window."""
        now, name = self._clock(), meaning.error_class.value
        seen = self._seen.setdefault(name, deque(maxlen=MOST_REMEMBERED))
        seen.append(now)
        while seen[0] <= now - self._window_s:
            seen.popleft()
        if len(seen) < self._count or now - self._told_at.get(name, -self._window_s) < self._window_s:
            return None
        self._told_at[name] = now
        return Alert(
            service=service, error_class=name, code=meaning.code, count=len(seen), window_ms=1_000 * self._window_s
        )


def log_alert(alert: Alert) -> None:
    """Tell an alert to the log: the hook that is there from the start."""
    from infrastructure.core.logger_core import get_logger  # the logger may need errors itself

    context = {
        "class": alert.error_class,
        "code": alert.code,
        "count": alert.count,
        "window_s": alert.window_ms / 1_000,
    }
    get_logger(alert.service, "error_core").error("Errors passed the alert threshold", context=context)


def sentry_report(dsn: str, *, environment: str, release: str = "") -> Report | None:
    """Return a report to Sentry, None where `sentry_sdk` is not installed (extra `sentry`); without it nothing is imported.

    What is sent is built here: class, code, place and ids. An exception's text, its local variables and the request stay
    out, since they may quote a prompt; so the SDK's own integrations, which would collect them, are off.
    """
    if importlib.util.find_spec("sentry_sdk") is None:
        return None
    sdk: Any = importlib.import_module("sentry_sdk")
    client = sdk.Client(
        dsn=dsn,
        environment=environment,
        release=release or None,
        default_integrations=False,
        auto_enabling_integrations=False,
        send_default_pii=False,
        include_local_variables=False,
        max_breadcrumbs=0,
        shutdown_timeout=SENTRY_CLOSE_S,
    )

    def report(error: BaseException, meaning: Classification, context: Mapping[str, Any]) -> None:
        client.capture_event(_event(error, meaning, context))

    return report


def _event(error: BaseException, meaning: Classification, context: Mapping[str, Any]) -> dict[str, Any]:
    at = place(error)
    return {
        "level": "fatal" if meaning.severity is Severity.CRITICAL else meaning.severity.value,
        "message": f"{meaning.code}: {type(error).__name__}",
        "fingerprint": [meaning.error_class.value, meaning.code, type(error).__name__, at],
        "tags": {"error_class": meaning.error_class.value, "code": meaning.code},
        "extra": {**context, "at": at},
    }
