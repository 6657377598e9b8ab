"""Libraries' lines in our form: they log by the standard library, so a handler there hears them all."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from infrastructure.base.base_logger import LogLevel
from infrastructure.core.logger_core.context_keys import KNOWN, Kind
from infrastructure.core.logger_core.guard import WITHHELD, Guard
from infrastructure.core.logger_core.literals import constants_of_module, frame_of, literals

if TYPE_CHECKING:
    from infrastructure.core.logger_core.manager import LoggerManager

# Libraries that say more than an operator wants, or that print requests: only what went wrong.
QUIET: Final = ("LiteLLM", "litellm", "LiteLLM Router", "LiteLLM Proxy", "httpx", "httpcore", "openai", "aiohttp", "asyncio",
                "urllib3", "hpack", "flower", "celery.worker.strategy", "celery.app.trace", "celery.beat", "watchfiles")  # fmt: skip
# These are never handed a prompt or an answer: their names, addresses and ids are let through.
TRUSTED: Final = ("celery.", "kombu.", "uvicorn.error", "flower.")
TRUSTED_MODULES: Final = ("celery.", "kombu.", "uvicorn.", "flower.")
# asyncio makes its messages at run time; of these only the beginning, which is always the same, is told.
BEGINNINGS: Final = (
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "Task was destroyed but it is pending!",
    "Unhandled exception in event loop",
    "unhandled exception during asyncio.run() shutdown",
    "Exception in callback",
    "Exception in default exception handler",
    "Executing",
    "Unclosed client session",
    "Unclosed connector",
    "Fatal error on transport",
    "Fatal read error on socket transport",
    "Fatal write error on socket transport",
)


class LibraryHandler(logging.Handler):
    """Writes a library's record as a line: its own words where they stand in its code, its figures, nobody's texts."""

    def __init__(self, manager: LoggerManager) -> None:
        super().__init__()
        self._manager = manager

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line; never raises."""
        try:
            exc = record.exc_info[1] if record.exc_info else None
            frame = frame_of(inspect.currentframe(), filename=record.pathname, function=record.funcName)
            self._manager.write(
                level_of(record.levelno),
                self._manager.scrub(lambda guard: said(record, frame, guard)),
                module=self._manager.scrub(lambda guard: spoken_by(record, guard)),
                function=record.funcName or "",
                code=None,
                context=None,
                exc=exc,
            )
        except Exception:  # noqa: BLE001  a library must not fail because it spoke
            self._manager.lose()


@contextmanager
def listening(manager: LoggerManager, *, alone: bool) -> Iterator[None]:
    """Hear every library; with `alone` the handlers that libraries brought themselves are taken away for good."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [LibraryHandler(manager)]
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    if alone:
        _take_over()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def set_level(number: int) -> None:
    """Have libraries drop what matters less; without our handler they are left alone."""
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, LibraryHandler):
            root.setLevel(number)
            handler.setLevel(number)  # loggers with a level of their own never ask the root for its


def level_of(number: int) -> LogLevel:
    """Return the level of a record; those that libraries invent count as the next lower one."""
    return next((level for level in reversed(LogLevel) if number >= level.number), LogLevel.DEBUG)


def spoken_by(record: logging.LogRecord, guard: Guard) -> str:
    """Return the name of a record's logger: a library's module, unless it was made of something at run time."""
    return record.name if record.name in QUIET else str(guard.value(Kind.NAME, record.name))


def said(record: logging.LogRecord, frame: FrameType | None, guard: Guard) -> str:
    """Return what may be told of a record's message."""
    template, trusted = record.msg, _is_trusted(record, frame)
    if isinstance(template, BaseException):
        return type(template).__name__
    if not isinstance(template, str):
        return guard.withhold_text(template)
    if record.name == "asyncio" and (beginning := _beginning(template)):
        return beginning
    if not _is_spelled(template, frame, trusted=trusted):
        return guard.withhold_text(template)
    words = constants_of_module(frame.f_globals) if trusted and frame is not None else None
    return guard.constant(_filled(template, record.args, guard, words))


def _is_trusted(record: logging.LogRecord, frame: FrameType | None) -> bool:
    """Say whether it is one of these libraries that speaks, and not somebody else by its logger."""
    if frame is None or not record.name.startswith(TRUSTED):
        return False
    return str(frame.f_globals.get("__name__")).startswith(TRUSTED_MODULES)


def _is_spelled(template: str, frame: FrameType | None, *, trusted: bool) -> bool:
    """Say whether a message stands in the code that logs it; Celery's stand in constants of its modules."""
    if frame is None:
        return False
    return template in literals(frame.f_code) or (trusted and template in constants_of_module(frame.f_globals))


def _beginning(text: str) -> str:
    return next((known for known in BEGINNINGS if text.startswith(known)), "")


def _filled(template: str, args: object, guard: Guard, words: frozenset[str] | None) -> str:
    """Return a template with those of its arguments that may be told."""
    if not args:
        return template
    try:
        if isinstance(args, Mapping):
            return template % _Named({str(key): _named(key, value, guard, words) for key, value in args.items()})
        values = args if isinstance(args, tuple) else (args,)
        return template % tuple(_argument(value, guard, words) for value in values)
    except (TypeError, ValueError, KeyError):  # a figure was asked for where a text was withheld
        return template


class _Word(str):
    """A text that looks the same by %s and %r."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class _Named(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return WITHHELD


def _argument(value: Any, guard: Guard, words: frozenset[str] | None) -> Any:
    """Return what is told of an argument: a figure, of an exception its type, a name where `words` says it is trusted."""
    if words is not None and type(value) is str and value in words:
        return _Word(value)
    if words is not None and type(value) is str and "://" in value:
        value = _address(value)
    named = words is not None or isinstance(value, BaseException)
    found = guard.value(Kind.NAME if named else Kind.NUMBER, value)
    if isinstance(found, (int, float)):
        return found
    return _Word(found if isinstance(found, str) or found is None else WITHHELD)


def _address(url: str) -> str:
    """Return a URL without its credentials and its query."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _named(key: object, value: Any, guard: Guard, words: frozenset[str] | None) -> Any:
    """Return an argument that has a name: Celery's `id` and `name` of a task, and whatever the allow-list knows."""
    known = key in KNOWN or key in {"id", "name", "hostname", "description"}
    return _argument(value, guard, words if known else None)


def _take_over() -> None:
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
