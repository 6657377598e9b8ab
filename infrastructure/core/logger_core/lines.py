"""The structlog chain that every line goes through, ours and the libraries'."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from structlog import BoundLoggerBase
from structlog.contextvars import merge_contextvars
from structlog.typing import EventDict, WrappedLogger

from infrastructure.base.base_logger import LogLevel
from infrastructure.core.logger_core.guard import Guard
from infrastructure.core.logger_core.outputs import Outputs
from infrastructure.core.logger_core.places import told

Now = Callable[[], datetime]


class Lines(BoundLoggerBase):
    """Makes a line of what is said and hands it to the outputs."""

    def write(self, level: LogLevel, message: object, **said: Any) -> None:
        """Run the chain; see `Shape` for what may be said."""
        self._proxy_to_logger("write", None, level=level, message=message, **said)


def make_lines(outputs: Outputs, guard: Guard, *, now: Now) -> Lines:
    """Return the chain: ids bound to this task or thread join in, the line gets its shape, the outputs get it."""
    return Lines(outputs, [merge_contextvars, Shape(guard, now)], {})


class Shape:
    """Gives a line exactly the guide's fields, and lets the guard see everything that goes into it."""

    def __init__(self, guard: Guard, now: Now) -> None:
        self._guard = guard
        self._now = now

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what the outputs' `write` is called with."""
        guard, take = self._guard, event.pop
        code, said, own, output_format = take("code"), take("context"), take("own"), take("output_format")
        spelled = take("spelled", ())
        level, message, exc = take("level"), take("message"), take("exc")
        line = {
            "timestamp": stamp(self._now()),
            "level": level.name,
            "service": take("service"),
            "service_id": take("service_id"),
            "message": message if code is None else guard.message(message, code),
            "module": take("module"),
            "function": take("function"),
        }
        context = guard.context({key: value for key, value in event.items() if value is not None}) if event else {}
        if own:
            context |= guard.context(own, spelled=spelled)
        if said:
            context |= guard.context(said, code)
        if exc is not None:
            context |= guard.context(told(exc))
        line["context"] = context
        return (line, output_format), {}


def stamp(moment: datetime) -> str:
    """Return a moment in UTC as the guide writes it: `2024-01-01T12:00:00.000000Z`."""
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)
