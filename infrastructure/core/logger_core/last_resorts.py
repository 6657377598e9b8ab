"""What Python itself would print in full: warnings, and exceptions that nobody caught, become lines without texts."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from infrastructure.base.base_logger import LogLevel
from infrastructure.core.logger_core.places import place, told

if TYPE_CHECKING:
    from infrastructure.core.logger_core.manager import LoggerManager


@contextmanager
def last_resorts(manager: LoggerManager) -> Iterator[None]:
    """Take Python's four ways of printing for as long as the context lasts."""
    before = (sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning)
    hooks = _Hooks(manager)
    sys.excepthook, threading.excepthook = hooks.uncaught, hooks.in_thread
    sys.unraisablehook, warnings.showwarning = hooks.ignored, hooks.warned
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = before


class _Hooks:
    def __init__(self, manager: LoggerManager) -> None:
        self._manager = manager

    def uncaught(self, kind: type[BaseException], exc: BaseException, _: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        self._tell(LogLevel.CRITICAL, "Process ends by an exception", told(exc))

    def in_thread(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            self._tell(LogLevel.ERROR, "Thread ended by an exception", told(args.exc_value))

    def ignored(self, args: Any) -> None:
        context = {"error_type": args.exc_type.__name__} if args.exc_value is None else told(args.exc_value)
        self._tell(LogLevel.ERROR, "Exception was raised where nobody could catch it", context)

    def warned(  # noqa: PLR0917  Python's signature
        self,
        message: Warning | str,  # noqa: ARG002  its text is the one thing that is not told
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,  # noqa: ARG002  Python's signature
        line: str | None = None,  # noqa: ARG002
    ) -> None:
        context = {"warning": category.__name__, "at": place(filename, lineno, "<module>")}
        self._tell(LogLevel.WARNING, "Library warned", context)

    def _tell(self, level: LogLevel, message: str, context: dict[str, Any]) -> None:
        self._manager.write(level, message, module="python", function="", code=None, context=context)
