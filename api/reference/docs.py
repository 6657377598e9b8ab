"""`/docs` and `/openapi.json`: the reference, as one page that needs nothing from elsewhere, and for machines."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from api.views import answer

router = APIRouter()
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430;background:#fff}
h2{margin-top:2.5rem;border-top:1px solid #d5dbe3;padding-top:1rem}code,pre{font:13px/1.45 ui-monospace,monospace}
pre{background:#f4f6f9;padding:.8rem;overflow:auto;border-radius:6px}table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid #e3e8ee;padding:.3rem .6rem;text-align:left;vertical-align:top}
b.m{background:#1f5fbf;color:#fff;border-radius:4px;padding:.1rem .5rem;font-size:.85rem}summary{cursor:pointer}
@media(prefers-color-scheme:dark){body{color:#dde3ea;background:#14181d}pre{background:#1e242c}
td,th,h2{border-color:#333c47}a{color:#7fb0ff}}
"""
_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "no-cache"}


@router.get("/openapi.json", include_in_schema=False)
async def document(request: Request) -> Response:
    """Show the OpenAPI document."""
    return answer(request.app.openapi())


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Show the OpenAPI document as a page."""
    return HTMLResponse(page(request.app.openapi()), headers=_HEADERS)


def page(document: dict[str, Any]) -> str:
    """Return the whole reference as HTML."""
    info = document["info"]
    operations = [
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = document["components"]["schemas"]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(info['title'])}: API</title><style>{_STYLE}</style>"
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
        f"<p>{_prose(info['description'])}</p><p>For machines: <a href=/openapi.json>openapi.json</a></p>"
        f"{''.join(operations)}<h2>Objects</h2>{''.join(_schema(name, schemas[name]) for name in sorted(schemas))}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    answers = [_answer(status, answer) for status, answer in sorted(operation["responses"].items())]
    return (
        f"<h2 id={escape(operation['operationId'])}><b class=m>{method.upper()}</b> <code>{escape(path)}</code></h2>"
        f"<p>{_prose(operation.get('description', ''))}</p>{_parameters(operation.get('parameters', []))}"
        + (f"<h3>Body: {_reference(body['schema'])}</h3>{_example(body['example'])}" if body else "")
        + f"<h3>Answers</h3>{''.join(answers)}"
    )


def _parameters(parameters: list[dict[str, Any]]) -> str:
    rows = [
        f"<tr><td><code>{escape(item['name'])}</code><td>{escape(item['in'])}<td>{_prose(item.get('description', ''))}"
        for item in parameters
    ]
    return f"<table><tr><th>Parameter<th>In<th>Meaning{''.join(rows)}</table>" if rows else ""


def _answer(status: str, answer: dict[str, Any]) -> str:
    examples = []
    for content in answer.get("content", {}).values():
        values = content.get("examples", {}).values()
        examples += [_example(value["value"]) for value in values] or [_example(content.get("example"))]
    return (
        f"<details><summary><b>{status}</b> {_prose(answer.get('description', ''))}</summary>"
        f"{''.join(examples)}</details>"
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    return (
        f"<details id=schema-{escape(name)}><summary><code>{escape(name)}</code> "
        f"{_prose(schema.get('description', '').split(chr(10))[0])}</summary>{_example(schema)}</details>"
    )


def _reference(schema: dict[str, Any]) -> str:
    name = escape(schema["$ref"].rsplit("/", 1)[-1])
    return f"<a href=#schema-{name}>{name}</a>"


def _example(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


def _prose(text: str) -> str:
    """Return text as HTML, what stands between backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
