"""The sandbox's HTTP server: reads a request, decides by its fault rules what it gets, and counts it."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import web

from workers.providers.sandbox import control, wire_anthropic, wire_openai
from workers.providers.sandbox.asked import Asked, Refused
from workers.providers.sandbox.counters import Counters, Visit
from workers.providers.sandbox.delivery import hang, reset, spread, whole
from workers.providers.sandbox.faults import Action, Between, Faults, Request
from workers.providers.sandbox.replies import Reply, bad, good, listing, refusal
from workers.providers.sandbox.wire import Wire

MODELS = ("sandbox-small", "sandbox-large", "sandbox-claude")
MOST_BODY_BYTES = 64 * 1024 * 1024
_CALLS: dict[str, Wire] = {"/v1/chat/completions": wire_openai, "/v1/messages": wire_anthropic}
_MODELS_PATH = "/v1/models"
_INSTANCE_PREFIX = "/p/"
_NO_INSTANCE = "default"


class Sandbox:
    """A provider that answers from the prompt alone, over the OpenAI and Anthropic wire formats.

    A good answer comes after `latency_s` and up to `jitter_s` more, by the prompt's digest (both seconds). What a
    fault rule says goes before; an error comes at once unless its rule has a latency of its own.
    """

    def __init__(self, *, latency_s: float = 0, jitter_s: float = 0) -> None:
        self.counters = Counters()
        self.faults = Faults()
        self._latency_s = latency_s
        self._jitter_s = jitter_s
        self._control = control.Control(faults=self.faults, counters=self.counters)

    def server(self) -> web.Server:
        """Return the protocol factory to listen with; needs a running loop."""
        loop = asyncio.get_running_loop()

        def with_room(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MOST_BODY_BYTES)

        # Cancelling what a client no longer waits for keeps `in_flight` true.
        return web.Server(self.handle, handler_cancellation=True, request_factory=with_room, access_log=None)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the answer to any request."""
        instance, path = place_of(request.raw_path)
        if path.startswith(control.PREFIX):
            return await self._control.handle(request, path=path)
        with self.counters.visit(instance=instance, path=path) as visit:
            wire = _wire_of(request, path)
            try:
                return await self._serve(request, visit, wire=wire, instance=instance, path=path)
            except Refused as refused:
                visit.decide(str(refused.status))
                return whole(refusal(wire, refused))

    async def _serve(
        self, request: web.BaseRequest, visit: Visit, *, wire: Wire, instance: str, path: str
    ) -> web.StreamResponse:
        asked = await _asked(request, wire, path)
        if asked is not None:
            visit.asks(model=asked.model, digest=asked.digest)
        action = self._action(request, asked, wire=wire, instance=instance, path=path)
        await self._pause(asked, action)
        if action is None:
            visit.decide("200")
            reply = _usual(wire, asked, None)
            return await spread(request, reply) if reply.streamed else whole(reply)
        return await _faulty(request, visit, wire=wire, asked=asked, action=action)

    def _action(
        self, request: web.BaseRequest, asked: Asked | None, *, wire: Wire, instance: str, path: str
    ) -> Action | None:
        if not self.faults:
            return None
        model, prompt = (asked.model, asked.prompt) if asked is not None else ("", "")
        return self.faults.pick(
            Request(wire=wire.NAME, instance=instance, path=path, model=model, prompt=prompt, headers=request.headers)
        )

    async def _pause(self, asked: Asked | None, action: Action | None) -> None:
        share = 0.0 if asked is None else (asked.digest & 0xFFFF) / 0x10000
        pause_s = _own_pause_s(action, share)
        if pause_s is None and asked is not None and (action is None or action.answers_well):
            pause_s = self._latency_s + self._jitter_s * share
        if pause_s:
            await asyncio.sleep(pause_s)


def place_of(raw_path: str) -> tuple[str, str]:
    """Return the instance and the path below it: `/p/{name}/v1/…` is a provider of its own, all else is `default`."""
    path = raw_path.partition("?")[0]
    if not path.startswith(_INSTANCE_PREFIX):
        return _NO_INSTANCE, path
    name, _, rest = path.removeprefix(_INSTANCE_PREFIX).partition("/")
    return name, f"/{rest}"


def _wire_of(request: web.BaseRequest, path: str) -> Wire:
    if path in _CALLS:
        return _CALLS[path]
    return wire_anthropic if "anthropic-version" in request.headers else wire_openai


async def _asked(request: web.BaseRequest, wire: Wire, path: str) -> Asked | None:
    if "Authorization" not in request.headers and "x-api-key" not in request.headers:
        raise Refused(401, "expected an API key (the sandbox takes any), got none")
    if path == _MODELS_PATH and request.method == "GET":
        return None
    if path not in _CALLS:
        raise Refused(404, f"expected a path that the sandbox serves, got {path}", code="unknown_url")
    if request.method != "POST":
        raise Refused(405, f"expected POST, got {request.method}", code="method_not_allowed")
    return _read(wire, await _body(request))


async def _body(request: web.BaseRequest) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise Refused(413, f"expected a body of at most {MOST_BODY_BYTES} bytes") from error


def _read(wire: Wire, body: bytes) -> Asked:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "expected the body to be JSON") from error
    if not isinstance(parsed, dict):
        raise Refused(400, "expected the body to be a JSON object")
    try:
        return wire.read(parsed)
    except (AttributeError, KeyError, TypeError) as error:
        raise Refused(400, "expected each field to have the type that the wire format gives it") from error


def _own_pause_s(action: Action | None, share: float) -> float | None:
    latency_s = None if action is None else action.latency_s
    if isinstance(latency_s, Between):
        return latency_s.min + (latency_s.max - latency_s.min) * share
    return latency_s


def _usual(wire: Wire, asked: Asked | None, action: Action | None) -> Reply:
    return listing(wire, MODELS) if asked is None else good(wire, asked, action)


async def _faulty(
    request: web.BaseRequest, visit: Visit, *, wire: Wire, asked: Asked | None, action: Action
) -> web.StreamResponse:
    if action.hang:
        visit.decide("hang")
        return await hang()
    if action.reset:
        visit.decide("reset")
        return reset(request)
    reply = (bad(wire, action) or _usual(wire, asked, action)).with_headers(action.sent_headers())
    visit.decide("cut" if action.cut else str(reply.status))
    if reply.streamed or action.cut or action.slow_body_s:
        return await spread(request, reply, over_s=action.slow_body_s, cut=action.cut)
    return whole(reply)
