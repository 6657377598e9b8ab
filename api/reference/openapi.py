"""The OpenAPI document: what FastAPI finds, and the request, the problem and the key that it cannot see."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.reference import documents, webhook_documents
from api.reference.schemas import Problem
from workers.jobs.request.completion import CompletionRequest
from workers.jobs.webhooks.asked import EndpointChange, EndpointRequest

DESCRIPTION = (
    "Submit a completion, get a job, poll it or wait for it. Errors are `application/problem+json` (RFC 9457) with a "
    "stable `code`. Without any API key made, callers on this machine need none."
)
_REF = "#/components/schemas/{model}"


def install(app: FastAPI) -> None:
    """Have `/openapi.json` serve the whole document, made once."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in (CompletionRequest, EndpointRequest, EndpointChange, Problem):
        schema = model.model_json_schema(ref_template=_REF)
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "`aip_…`"}}
    for (method, path), declared in {**documents.BY_ROUTE, **webhook_documents.BY_ROUTE}.items():
        _mend(document["paths"][path][method], declared["responses"], needs_key=path.startswith("/api/"))
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _mend(operation: dict[str, Any], declared: dict[int | str, dict[str, Any]], *, needs_key: bool) -> None:
    """Put the key where it is needed, and take out the framework's own form of a validation error, never sent."""
    if needs_key:
        operation["security"] = [{"key": []}, {}]
    answer = operation["responses"].get("422", {}).get("content", {}).get("application/json", {})
    if "HTTPValidationError" in str(answer):
        del operation["responses"]["422"]
    for status, response in declared.items():  # FastAPI drops what is null, in examples too
        for media_type, content in response.get("content", {}).items():
            examples = {name: content[name] for name in ("example", "examples") if name in content}
            operation["responses"][str(status)]["content"][media_type] |= examples
