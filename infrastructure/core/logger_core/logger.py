"""The logger of one module of one service."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import PurePath
from types import FrameType
from typing import TYPE_CHECKING, Any

from infrastructure.base import base_logger
from infrastructure.base.base_logger import DEFAULT_SERVICE, BaseLogger, LogLevel
from infrastructure.core.logger_core.counts import LineCounts
from infrastructure.core.logger_core.events import EVENT_MESSAGES, NO_LEVEL
from infrastructure.core.logger_core.guard import is_spelled
from infrastructure.core.logger_core.places import function_of
from infrastructure.core.logger_core.rendering import FORMATS

if TYPE_CHECKING:
    from infrastructure.core.logger_core.manager import LoggerManager

_OWN_FILES = frozenset({__file__, base_logger.__file__})


class CoreLogger(BaseLogger):
    """Writes lines in the guide's form; context in, structured line out.

    A message has to stand in the code that says it, and a context key on the allow-list (`context_keys.py`; your own by
    `logger_manager.allow_keys`): what arrives at run time may be a prompt, an f-string is withheld. Not `info(f"Took {ms} ms")`
    but `info("Took", {"duration_ms": ms})`. `service_id` is the part after the service's name (`001`) or the whole (`ai-provider-001`);
    without one it is the process's. `output_format` is `json` or `console`. The loggers of `get_logger` follow the process's
    level and format, one made here has its own.

    Raises:
        ValueError: `log_level` or `output_format` is none.
    """

    def __init__(
        self,
        service_name: str,
        service_id: str | None = None,
        log_level: LogLevel | str = LogLevel.INFO,
        output_format: str = "json",
        *,
        module: str = "",
        manager: LoggerManager | None = None,
        follows: bool = False,
    ) -> None:
        if output_format not in FORMATS:
            raise ValueError(f"expected output_format to be one of {', '.join(FORMATS)}, got {output_format!r}")
        super().__init__(service_name, service_id)
        self._manager = _process_manager() if manager is None else manager
        self._module = module
        self._given_id = service_id
        # Loggers of modules are made before the configuration is read, which may give the service another name.
        self._service = "" if follows and service_name == DEFAULT_SERVICE else service_name
        self._threshold = None if follows else LogLevel(log_level).number
        self._format = None if follows else output_format
        self._counts = LineCounts()
        self._spelled: set[str] = set()
        self._told_of_level = False

    def add_context(self, key: str, value: Any) -> None:
        """Add something to all lines that follow; numbers under any key, else under a key of the allow-list."""
        super().add_context(key, value)
        if is_spelled(key, _caller().f_code):
            self._spelled.add(key)

    def log(
        self,
        level: LogLevel,
        message: str,
        context: Mapping[str, Any] | None = None,
        *,
        exc: BaseException | None = None,
    ) -> None:
        """Log one line; of `exc` only its type and places, since its text may quote a prompt. Never raises.

        What is no level counts as info, and one more line says so, once.
        """
        manager = self._manager
        if not self._told_of_level and not _is_level(level):
            self._told_of_level = True
            self.warning(NO_LEVEL)
        if _level(level).number < (manager.threshold if self._threshold is None else self._threshold):
            return
        caller = _caller()
        manager.write(
            _level(level),
            message,
            service=self._service,
            service_id=self._given_id,
            module=self._module or PurePath(caller.f_code.co_filename).stem,
            function=function_of(caller.f_code),
            code=caller.f_code,
            context=context,
            exc=exc,
            own=self.context,
            spelled=self._spelled,
            output_format=self._format,
            counts=self._counts,
        )

    def log_request(
        self, method: str, path: str, status_code: int, duration_ms: float, user_id: str | None = None
    ) -> None:
        """Log an HTTP request: the route rather than the path as it came, milliseconds, and who asked."""
        route = path.partition("?")[0].partition("#")[0] if isinstance(path, str) else path
        super().log_request(method, route, status_code, duration_ms, user_id)

    def log_business_event(self, event_name: str, event_data: Mapping[str, Any], user_id: str | None = None) -> None:
        """Log an event of the business: its name is `event` in the context, the message says it in words."""
        context = {"event": event_name, **(event_data if isinstance(event_data, Mapping) else {})}
        if user_id is not None:
            context["user_id"] = user_id
        message = EVENT_MESSAGES.get(event_name, event_name) if isinstance(event_name, str) else event_name
        self.log(LogLevel.INFO, message, context)

    def set_log_level(self, level: LogLevel | str) -> None:
        """Drop what matters less than this from now on: here, or for the whole process when the logger follows it.

        Raises:
            ValueError: it is no level.
        """
        if self._threshold is None:
            self._manager.set_log_level(level)
        else:
            self._threshold = LogLevel(level).number

    def get_metrics(self) -> dict[str, Any]:
        """Return what this logger wrote; the process's totals are `logger_manager.get_metrics()`."""
        return self._counts.told()


def _process_manager() -> LoggerManager:
    from infrastructure.core.logger_core.manager import logger_manager  # it makes loggers itself

    return logger_manager


def _is_level(level: object) -> bool:
    return type(level) is LogLevel or (type(level) is str and level.lower() in set(LogLevel))


def _level(level: LogLevel | str) -> LogLevel:
    if type(level) is LogLevel:
        return level
    try:
        return LogLevel(level)
    except ValueError:
        return LogLevel.INFO


def _caller() -> FrameType:
    """Return the frame that wants a line."""
    frame = sys._getframe(1)  # noqa: SLF001  inspect's way costs a hundred times more
    while frame.f_code.co_filename in _OWN_FILES and frame.f_back is not None:
        frame = frame.f_back
    return frame
