"""What a logger promises, with a twin that writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

DEFAULT_SERVICE = "ai-provider"
DEFAULT_SERVICE_ID = "001"
_NUMBERS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class LogLevel(StrEnum):
    """How much a line matters; the values are the words of `logging.level`, in letters of any size."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def number(self) -> int:
        """Return the level as the standard library counts it: 10 to 50."""
        return _NUMBERS[self.value]

    @classmethod
    def _missing_(cls, value: object) -> Self:
        word = value.lower() if isinstance(value, str) else value
        for level in cls:
            if level.value == word:
                return level
        raise ValueError(f"expected a level to be one of {', '.join(cls)}, got {value!r}")


class BaseLogger:
    """Logs for one service. Here `log` writes nothing; whoever overrides it gets every other method by it.

    `service_name` and `service_id` say who speaks; `context` goes into every line of this logger.
    """

    def __init__(self, service_name: str, service_id: str | None = None) -> None:
        self.service_name = service_name
        self.service_id = service_id or DEFAULT_SERVICE_ID
        self.context: dict[str, Any] = {}

    def add_context(self, key: str, value: Any) -> None:
        """Add something to all lines that follow."""
        self.context[key] = value

    def log(
        self,
        level: LogLevel,
        message: str,
        context: Mapping[str, Any] | None = None,
        *,
        exc: BaseException | None = None,
    ) -> None:
        """Log one line; of `exc` no more than its type and places.

        The message is a constant: what differs from line to line goes into `context`, since a text that is made at run time
        (an f-string, a sum) may hold a prompt and is withheld. Not `info(f"Took {ms} ms")` but `info("Took", {"duration_ms": ms})`.
        """

    def debug(
        self, message: str, context: Mapping[str, Any] | None = None, *, exc: BaseException | None = None
    ) -> None:
        """Log what only a developer wants."""
        self.log(LogLevel.DEBUG, message, context, exc=exc)

    def info(self, message: str, context: Mapping[str, Any] | None = None, *, exc: BaseException | None = None) -> None:
        """Log what happened as it should."""
        self.log(LogLevel.INFO, message, context, exc=exc)

    def warning(
        self, message: str, context: Mapping[str, Any] | None = None, *, exc: BaseException | None = None
    ) -> None:
        """Log what somebody should look at."""
        self.log(LogLevel.WARNING, message, context, exc=exc)

    def error(
        self, message: str, context: Mapping[str, Any] | None = None, *, exc: BaseException | None = None
    ) -> None:
        """Log what failed."""
        self.log(LogLevel.ERROR, message, context, exc=exc)

    def critical(
        self, message: str, context: Mapping[str, Any] | None = None, *, exc: BaseException | None = None
    ) -> None:
        """Log what stops the service."""
        self.log(LogLevel.CRITICAL, message, context, exc=exc)

    def log_request(
        self, method: str, path: str, status_code: int, duration_ms: float, user_id: str | None = None
    ) -> None:
        """Log an HTTP request: the route rather than the path as it came, milliseconds, and who asked."""
        context: dict[str, Any] = {"method": method, "path": path, "status_code": status_code}
        context["duration_ms"] = duration_ms
        self.log(LogLevel.INFO, "Request", context if user_id is None else {**context, "user_id": user_id})

    def log_business_event(self, event_name: str, event_data: Mapping[str, Any], user_id: str | None = None) -> None:
        """Log an event of the business, such as `provider_failover`: its name is `event` in the context."""
        who = {} if user_id is None else {"user_id": user_id}
        self.log(LogLevel.INFO, event_name, {"event": event_name, **event_data, **who})

    def set_log_level(self, level: LogLevel | str) -> None:
        """Drop what matters less than this from now on.

        Raises:
            ValueError: it is no level.
        """
        LogLevel(level)

    def get_metrics(self) -> dict[str, Any]:
        """Return what was written so far: `lines` by level, and totals."""
        return {"lines": {level.value: 0 for level in LogLevel}}


class NullLogger(BaseLogger):
    """Writes nothing and keeps nothing, for a part that is used without a log."""

    def add_context(self, key: str, value: Any) -> None:
        """Forget it."""
