"""Every error as `application/problem+json` (RFC 9457), under a stable code."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.http.trace import trace_of
from infrastructure.core.error_core import (
    PROBLEM_TYPE,
    ErrorHandler,
    InvalidKey,
    MethodNotAllowed,
    MissingKey,
    NotFound,
    QueueRefusal,
    RequestError,
    ServiceError,
    ValidationFailed,
    problem,
    retry_after_s,
)
from workers.jobs.request.faults import sentence

MEDIA_TYPE = "application/problem+json"
TYPE = PROBLEM_TYPE
MAX_SHOWN = 60
_FIGURE = re.compile(r"-?\d{1,20}(?:\.\d{1,20})?")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_BY_STATUS: dict[int, tuple[type[RequestError], str]] = {
    404: (NotFound, "there is nothing at this path"),
    405: (MethodNotAllowed, "expected one of the methods in Allow"),
}


def install(app: FastAPI, errors: ErrorHandler) -> None:
    """Have every error that a route or the framework raises handled, and answered as a problem."""

    def answering(of: Callable[[Exception], ServiceError]) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def on_error(request: Request, error: Exception) -> Response:  # a plain function would be run in a thread
            told = _wrong_method(error, request) or of(error)
            errors.handle(told, {"method": request.method, "route": getattr(request.scope.get("route"), "path", None)})
            response = render(told, trace_of(request.scope).request_id)
            if isinstance(error, HTTPException) and error.headers and "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response

        return on_error

    app.add_exception_handler(ServiceError, answering(_of_service_error))
    app.add_exception_handler(HTTPException, answering(_of_http_exception))
    app.add_exception_handler(RequestValidationError, answering(_of_validation_error))


def render(error: ServiceError, request_id: str) -> Response:
    """Return the answer that tells an error."""
    body = orjson.dumps(problem(error, request_id=request_id))
    return Response(body, error.status, headers=_headers(error), media_type=MEDIA_TYPE)


def field_error(field: str, message: str) -> ValidationFailed:
    """Return the error for one header or query parameter."""
    return ValidationFailed(f"{field}: {message}", errors=[{"field": field, "message": message}])


def _headers(error: ServiceError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, (MissingKey, InvalidKey)):
        invalid = ', error="invalid_token"' if isinstance(error, InvalidKey) else ""
        headers["WWW-Authenticate"] = f'Bearer realm="ai-provider"{invalid}'
    if isinstance(error, QueueRefusal):
        headers |= error.headers
    if (wait_s := retry_after_s(error)) is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
    if error.status in {HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT}:
        headers["Connection"] = "close"  # what is left of the body is not worth reading
    return headers


def _of_service_error(error: Exception) -> ServiceError:
    assert isinstance(error, ServiceError)  # noqa: S101  by its registration
    return error


def _of_http_exception(error: Exception) -> ServiceError:
    assert isinstance(error, HTTPException)  # noqa: S101  by its registration
    kind, message = _BY_STATUS.get(error.status_code, (RequestError, "the request cannot be served as it is"))
    return kind(message)


def _wrong_method(error: Exception, request: Request) -> ServiceError | None:
    allowed = error.headers.get("Allow") if isinstance(error, HTTPException) and error.headers else None
    if not allowed or getattr(error, "status_code", 0) != HTTPStatus.METHOD_NOT_ALLOWED:
        return None
    got = request.method if request.method in _METHODS else "another"
    return MethodNotAllowed(f"expected {' or '.join(allowed.split(', '))}, got {got}")


def _of_validation_error(error: Exception) -> ServiceError:
    """Tell the framework's findings about path and query in our words."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  by its registration
    errors: list[dict[str, Any]] = [
        {"field": str(found["loc"][-1]), "message": sentence(found, got=_got(found["input"]))}
        for found in error.errors()
    ]
    return ValidationFailed("a parameter breaks a rule; each is listed in errors", errors=errors)


def _got(value: Any) -> str:
    """Return a figure as it came, of any other text its length: it may be a prompt or a key."""
    text = str(value)
    return text if len(text) <= MAX_SHOWN and _FIGURE.fullmatch(text) else f"a text of {len(text)} characters"
