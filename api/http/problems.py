"""Every error as `application/problem+json` (RFC 9457), under a stable code."""

from __future__ import annotations

import math
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
    InvalidKey,
    MethodNotAllowed,
    MissingKey,
    NotFound,
    RequestError,
    ServiceError,
    ValidationFailed,
)
from workers.jobs.request.faults import sentence

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:ai-provider:problem:"
DEFAULT_RETRY_S = 2.0
MAX_SHOWN = 60
_BY_STATUS: dict[int, tuple[type[RequestError], str]] = {
    404: (NotFound, "there is nothing at this path"),
    405: (MethodNotAllowed, "expected one of the methods in Allow"),
}


def install(app: FastAPI) -> None:
    """Have every error that a route or the framework raises answered as a problem."""
    app.add_exception_handler(ServiceError, _on_service_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)


def render(error: ServiceError, request_id: str) -> Response:
    """Return the answer that tells an error."""
    body = {
        "type": TYPE + error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "instance": f"urn:ai-provider:request:{request_id}",
        "code": error.code,
        **error.data,
    }
    return Response(orjson.dumps(body), error.status, headers=_headers(error), media_type=MEDIA_TYPE)


def field_error(field: str, message: str) -> ValidationFailed:
    """Return the error for one header or query parameter."""
    return ValidationFailed(f"{field}: {message}", errors=[{"field": field, "message": message}])


def _headers(error: ServiceError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, (MissingKey, InvalidKey)):
        invalid = ', error="invalid_token"' if isinstance(error, InvalidKey) else ""
        headers["WWW-Authenticate"] = f'Bearer realm="ai-provider"{invalid}'
    wait_s = error.retry_after_s
    if wait_s is None and error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        wait_s = DEFAULT_RETRY_S
    if wait_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
    if error.status in {HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT}:
        headers["Connection"] = "close"  # what is left of the body is not worth reading
    return headers


def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)  # noqa: S101  by its registration
    return render(error, trace_of(request.scope).request_id)


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  by its registration
    kind, message = _BY_STATUS.get(error.status_code, (RequestError, "the request cannot be served as it is"))
    response = render(kind(message), trace_of(request.scope).request_id)
    response.headers.update({name: value for name, value in (error.headers or {}).items() if name == "Allow"})
    return response


def _on_validation_error(request: Request, error: Exception) -> Response:
    """Tell the framework's findings about path and query in our words."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  by its registration
    errors: list[dict[str, Any]] = [
        {"field": str(found["loc"][-1]), "message": sentence(found, got=repr(found["input"])[:MAX_SHOWN])}
        for found in error.errors()
    ]
    problem = ValidationFailed("a parameter breaks a rule; each is listed in errors", errors=errors)
    return render(problem, trace_of(request.scope).request_id)
