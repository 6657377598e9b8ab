"""Reading: from an HTTP request to what it asks, or to the refusal that a provider would answer with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from workers.providers.sandbox import wire_anthropic, wire_openai
from workers.providers.sandbox.asked import Asked, Refused
from workers.providers.sandbox.wire import Wire

MOST_BODY_BYTES = 64 * 1024 * 1024
CALLS: dict[str, Wire] = {"/v1/chat/completions": wire_openai, "/v1/messages": wire_anthropic}
_MODELS_PATH = "/v1/models"
_INSTANCE_PREFIX = "/p/"
NO_INSTANCE = "default"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes: the instance, the path below it, and the wire format spoken there."""

    instance: str
    path: str
    wire: Wire


def place_of(request: web.BaseRequest, *, instance: str = NO_INSTANCE) -> Place:
    """Return a request's place: `/p/{name}/v1/…` is a provider of its own, all else is the port's `instance`."""
    path = request.raw_path.partition("?")[0]
    if path.startswith(_INSTANCE_PREFIX):
        instance, _, rest = path.removeprefix(_INSTANCE_PREFIX).partition("/")
        path = f"/{rest}"
    listing_wire = wire_anthropic if "anthropic-version" in request.headers else wire_openai
    return Place(instance, path, CALLS.get(path, listing_wire))


async def read_body(request: web.BaseRequest, path: str) -> dict[str, Any] | None:
    """Return the body of a call, None for the list of models; Refused for anything else."""
    if "Authorization" not in request.headers and "x-api-key" not in request.headers:
        raise Refused(401, "expected an API key (the sandbox takes any), got none")
    if path == _MODELS_PATH and request.method == "GET":
        return None
    if path not in CALLS:
        raise Refused(404, f"expected a path that the sandbox serves, got {path}", code="unknown_url")
    if request.method != "POST":
        raise Refused(405, f"expected POST, got {request.method}", code="method_not_allowed")
    return await _parsed(request)


async def _parsed(request: web.BaseRequest) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read())
    except web.HTTPRequestEntityTooLarge as error:
        raise Refused(413, f"expected a body of at most {MOST_BODY_BYTES} bytes") from error
    except orjson.JSONDecodeError as error:
        raise Refused(400, "expected the body to be JSON") from error
    if not isinstance(body, dict):
        raise Refused(400, "expected the body to be a JSON object")
    return body


def understand(wire: Wire, body: dict[str, Any]) -> Asked:
    """Return what a body asks; Refused when its fields have other types than the wire format's."""
    try:
        return wire.read(body)
    except (AttributeError, KeyError, TypeError) as error:
        raise Refused(400, "expected each field to have the type that the wire format gives it") from error
