"""What an exception means: its class, its stable code, how bad it is, and whether trying again helps."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from infrastructure.core.error_core.errors import (
    ConfigError,
    InternalError,
    ProviderError,
    QueueRefusal,
    RequestError,
    ServiceError,
    StoreError,
    TenantQueueFull,
)


class ErrorClass(StrEnum):
    """Who or what failed."""

    REQUEST = "request"
    STORE = "store"
    PROVIDER = "provider"
    CONFIGURATION = "configuration"
    TIMEOUT = "timeout"
    NETWORK = "network"
    RESOURCE = "resource"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


class Severity(StrEnum):
    """Who should care: nobody, an operator who looks, an operator soon, an operator now."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The meaning of an exception. `code` is stable; `status` is the HTTP status it is answered with."""

    error_class: ErrorClass
    code: str
    status: int
    severity: Severity
    retryable: bool


# The nearest listed ancestor wins, so that a new error of the tree has a meaning without a line here.
_OURS: dict[type[BaseException], tuple[ErrorClass, Severity]] = {
    RequestError: (ErrorClass.REQUEST, Severity.INFO),
    StoreError: (ErrorClass.STORE, Severity.WARNING),
    QueueRefusal: (ErrorClass.RESOURCE, Severity.WARNING),
    TenantQueueFull: (ErrorClass.REQUEST, Severity.INFO),  # the caller's doing
    ProviderError: (ErrorClass.PROVIDER, Severity.WARNING),
    ConfigError: (ErrorClass.CONFIGURATION, Severity.CRITICAL),
    InternalError: (ErrorClass.INTERNAL, Severity.ERROR),
    ServiceError: (ErrorClass.INTERNAL, Severity.ERROR),
}
_FOREIGN: dict[type[BaseException], Classification] = {
    kind: Classification(error_class=error_class, code=code, status=status, severity=severity, retryable=retryable)
    for kind, error_class, code, status, severity, retryable in (
        (asyncio.CancelledError, ErrorClass.CANCELLED, "cancelled", 503, Severity.INFO, True),
        (TimeoutError, ErrorClass.TIMEOUT, "timeout", 504, Severity.WARNING, True),
        (ConnectionError, ErrorClass.NETWORK, "connection_lost", 503, Severity.WARNING, True),
        (MemoryError, ErrorClass.RESOURCE, "out_of_memory", 503, Severity.CRITICAL, True),
        (OSError, ErrorClass.RESOURCE, "system_error", 500, Severity.ERROR, False),
        (BaseException, ErrorClass.INTERNAL, "internal_error", 500, Severity.ERROR, False),
    )
}


def classify(error: BaseException) -> Classification:
    """Return what an exception means; one that nobody named is `internal_error`, not to be tried again."""
    if isinstance(error, ServiceError):
        return _ours(error)
    return next(_FOREIGN[parent] for parent in type(error).__mro__ if parent in _FOREIGN)


def _ours(error: ServiceError) -> Classification:
    error_class, severity = next(_OURS[parent] for parent in type(error).__mro__ if parent in _OURS)
    return Classification(
        error_class=error_class,
        code=error.job_code,
        status=error.status,
        severity=severity,
        retryable=error.retryable,
    )


def place(error: BaseException) -> str:
    """Return where an exception was raised, as `folder/file.py:line in function`; empty where it never was."""
    traceback = error.__traceback__
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    return f"{'/'.join(code.co_filename.split('/')[-2:])}:{traceback.tb_lineno} in {code.co_name}"
