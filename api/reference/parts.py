"""What the documents of routes are made of: answers, headers, problems, each with an example."""

from __future__ import annotations

from typing import Any

from api.http.problems import MEDIA_TYPE, TYPE
from infrastructure.core import error_core
from infrastructure.core.error_core import ServiceError

Document = dict[str, Any]

AUTH = (error_core.MissingKey, error_core.InvalidKey, error_core.Forbidden)
STORE = (error_core.StoreUnavailable, error_core.StoreFull)
JSON_BODY = (
    error_core.InvalidJSON, error_core.BodyTooLarge, error_core.UnsupportedMediaType, error_core.ValidationFailed,
)  # fmt: skip
_FAULT = {"field": "tempreature", "pointer": "#/tempreature", "message": "no such field; did you mean temperature?"}


def problems(*kinds: type[ServiceError]) -> dict[int, Document]:
    """Return the responses that tell these errors, one for each status."""
    responses: dict[int, Document] = {}
    for kind in kinds:
        response = responses.setdefault(kind.status, {"description": kind.title, "content": {MEDIA_TYPE: {
            "schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}}})  # fmt: skip
        response["content"][MEDIA_TYPE]["examples"][kind.code] = {"value": _example(kind)}
    return responses


def _example(kind: type[ServiceError]) -> Document:
    example: Document = {"type": TYPE + kind.code, "title": kind.title, "status": kind.status,
                         "detail": "what was expected, and what was found",
                         "instance": "urn:ai-provider:request:req_5f3c1a9be07d42668f10c2aa", "code": kind.code}  # fmt: skip
    return {**example, "errors": [_FAULT]} if kind is error_core.ValidationFailed else example


def ok(model: type, description: str, example: Any, **more: Any) -> Document:
    """Return a good answer of a model."""
    return {
        "model": model,
        "description": description,
        "content": {"application/json": {"example": example}},
        **more,
    }


def header(name: str, description: str) -> Document:
    """Return a request's header that may be left out."""
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string"},
    }
