"""Structured logging: one JSON object a line, ours and every library's, with nothing in it that is not allowed by name."""

from structlog.contextvars import bind_contextvars, bound_contextvars

from infrastructure.base.base_logger import LogLevel
from infrastructure.core.logger_core.context_keys import Kind
from infrastructure.core.logger_core.logger import CoreLogger
from infrastructure.core.logger_core.manager import LoggerManager, configure_logging, get_logger, logger_manager
from infrastructure.core.logger_core.places import where
from infrastructure.core.logger_core.wiring import apply_settings, configure_process

__all__ = [
    "CoreLogger",
    "Kind",
    "LogLevel",
    "LoggerManager",
    "apply_settings",
    "bind_contextvars",
    "bound_contextvars",
    "configure_logging",
    "configure_process",
    "get_logger",
    "logger_manager",
    "where",
]
