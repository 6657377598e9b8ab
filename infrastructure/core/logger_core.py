"""Structured logging: one pipeline for our lines and every library's, one JSON object a line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import EventDict, WrappedLogger

__all__ = ["CoreLogger", "bound_contextvars", "configure_logging", "get_logger"]

_FIELDS = ("timestamp", "level", "service", "service_id", "message", "module", "function", "context")
# Libraries that say more than an operator wants, or that print requests: only what went wrong.
_QUIET = ("LiteLLM", "litellm", "LiteLLM Router", "LiteLLM Proxy", "httpx", "httpcore", "openai", "aiohttp", "asyncio",
          "urllib3", "hpack", "celery.worker.strategy", "celery.app.trace", "celery.beat")  # fmt: skip


class CoreLogger:
    """Logger of one module of one service; context in, structured line out."""

    def __init__(self, service_name: str, module: str) -> None:
        self._log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(f"{service_name}.{module}")
        self._module = module

    def debug(self, message: str, *, context: Mapping[str, Any] | None = None) -> None:
        """Log what only a developer wants."""
        self._log.debug(message, context=dict(context or {}), module=self._module)

    def info(self, message: str, *, context: Mapping[str, Any] | None = None) -> None:
        """Log what happened as it should."""
        self._log.info(message, context=dict(context or {}), module=self._module)

    def warning(self, message: str, *, context: Mapping[str, Any] | None = None) -> None:
        """Log what somebody should look at."""
        self._log.warning(message, context=dict(context or {}), module=self._module)

    def error(
        self, message: str, *, context: Mapping[str, Any] | None = None, exc: BaseException | None = None
    ) -> None:
        """Log what failed; of an exception only its type and place, since its text may quote a prompt."""
        fields = dict(context or {})
        if exc is not None:
            fields |= where(exc)
        self._log.error(message, context=fields, module=self._module)

    def log_business_event(self, event_name: str, event_data: Mapping[str, Any]) -> None:
        """Log an event of the business, such as `provider_failover`."""
        self._log.info(event_name, context=dict(event_data), module=self._module)


def get_logger(service: str, module: str) -> CoreLogger:
    """Return the logger of a module."""
    return CoreLogger(service, module)


def where(exc: BaseException) -> dict[str, str]:
    """Return an exception's type and the last frame of its traceback, without its text."""
    place, traceback = "", exc.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = f"{code.co_filename.rsplit('/', 2)[-1]}:{traceback.tb_lineno} in {code.co_name}"
        traceback = traceback.tb_next
    return {"error_type": type(exc).__name__, "at": place}


def configure_logging(
    service: str,
    *,
    level: str = "info",
    output_format: str = "json",
    service_id: str = "001",
    stream: TextIO | None = None,
) -> None:
    """Send every line of this process, ours and the libraries', through one formatter to `stream` (stdout)."""
    shared = [merge_contextvars, _named(service, f"{service}-{service_id}")]
    renderer = structlog.processors.JSONRenderer() if output_format == "json" else _console(stream or sys.stdout)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, _foreign],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _shape, renderer],
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.CallsiteParameterAdder(
                {structlog.processors.CallsiteParameter.FUNC_NAME}, additional_ignores=[__name__]
            ),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _named(service: str, service_id: str) -> Any:
    def add(_: WrappedLogger, method: str, event: EventDict) -> EventDict:
        stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
        return stamp(_, method, {**event, "service": service, "service_id": service_id})

    return add


def _foreign(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Give a library's line our fields. An exception's text stays out, its type stays in."""
    record = event["_record"]
    event.update(module=record.name, func_name=record.funcName)
    if record.exc_info and record.exc_info[1] is not None:
        event["context"] = where(record.exc_info[1])
        record.exc_info = record.exc_text = None
    event.pop("exc_info", None)
    return event


def _shape(_: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Keep exactly the fields of a line; whatever else was bound goes into `context`."""
    line = {
        "timestamp": event.pop("timestamp", ""),
        "level": (event.pop("level", None) or method).upper(),
        "service": event.pop("service", ""),
        "service_id": event.pop("service_id", ""),
        "message": event.pop("event", ""),
        "module": event.pop("module", ""),
        "function": event.pop("func_name", ""),
    }
    context = event.pop("context", {})
    return {**line, "context": {**{k: v for k, v in event.items() if not k.startswith("_")}, **context}}


def _console(stream: TextIO) -> Any:
    """Render a line for a person: time, level, message, then the context."""
    colours = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[31m"} if stream.isatty() else {}

    def render(_: WrappedLogger, __: str, line: EventDict) -> str:
        context = " ".join(f"{key}={value}" for key, value in line["context"].items())
        colour = colours.get(line["level"], "")
        text = f"{line['timestamp'][11:19]} {line['level']:<7} {line['message']} {context}".rstrip()
        return f"{colour}{text}\033[0m" if colour else text

    return render
