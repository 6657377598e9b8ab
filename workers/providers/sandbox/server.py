"""The sandbox's HTTP server: reads a request, decides by its fault rules what it gets, and counts it."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from workers.providers.sandbox import control
from workers.providers.sandbox.asked import Asked, Refused
from workers.providers.sandbox.counters import Counters, Visit
from workers.providers.sandbox.delivery import hang, reset, spread, whole
from workers.providers.sandbox.faults import Faults, Request
from workers.providers.sandbox.reading import MOST_BODY_BYTES, Place, place_of, read_body, understand
from workers.providers.sandbox.replies import Reply, bad, good, listing, refusal
from workers.providers.sandbox.rules import Action, Between
from workers.providers.sandbox.wire import Wire

MODELS = ("sandbox-small", "sandbox-large", "sandbox-claude")
_SAID = ("messages", "system")


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
        self._control = control.Control(faults=self.faults, counters=self.counters, last=self._shown_last)
        self._last: dict[str, Any] = {}

    def server(self) -> web.Server:
        """Return the protocol factory to listen with; needs a running loop."""
        loop = asyncio.get_running_loop()

        def with_room(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MOST_BODY_BYTES)

        # Cancelling what a client no longer waits for keeps `in_flight` true.
        return web.Server(self.handle, handler_cancellation=True, request_factory=with_room, access_log=None)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the answer to any request."""
        place = place_of(request)
        if place.path.startswith(control.PREFIX):
            return await self._control.handle(request, path=place.path)
        with self.counters.visit(instance=place.instance, path=place.path) as visit:
            try:
                return await self._serve(request, visit, place=place)
            except Refused as refused:
                visit.decide(str(refused.status))
                return whole(refusal(place.wire, refused))

    async def _serve(self, request: web.BaseRequest, visit: Visit, *, place: Place) -> web.StreamResponse:
        asked = await self._asked(request, visit, place)
        action = self._action(request, asked, place)
        await self._pause(asked, action)
        if action is None:
            visit.decide("200")
            reply = _usual(place.wire, asked, None)
            return await spread(request, reply) if reply.streamed else whole(reply)
        return await _faulty(request, visit, wire=place.wire, asked=asked, action=action)

    async def _asked(self, request: web.BaseRequest, visit: Visit, place: Place) -> Asked | None:
        body = await read_body(request, place.path)
        if body is None:
            return None
        asked = understand(place.wire, body)
        visit.asks(model=asked.model, digest=asked.digest)
        self._last = {"instance": place.instance, "path": place.path, "headers": request.headers, "body": body}
        return asked

    def _action(self, request: web.BaseRequest, asked: Asked | None, place: Place) -> Action | None:
        if not self.faults:
            return None
        model, prompt = (asked.model, asked.prompt) if asked is not None else ("", "")
        return self.faults.pick(
            Request(
                wire=place.wire.NAME,
                instance=place.instance,
                path=place.path,
                model=model,
                prompt=prompt,
                headers=request.headers,
            )
        )

    async def _pause(self, asked: Asked | None, action: Action | None) -> None:
        share = 0.0 if asked is None else (asked.digest & 0xFFFF) / 0x10000
        pause_s = _own_pause_s(action, share)
        if pause_s is None and asked is not None and (action is None or action.answers_well):
            pause_s = self._latency_s + self._jitter_s * share
        if pause_s:
            await asyncio.sleep(pause_s)

    def _shown_last(self) -> dict[str, Any]:
        """Return the last call's place, header names and parameters, without what was said in it."""
        if not self._last:
            return {}
        parameters = {name: value for name, value in self._last["body"].items() if name not in _SAID}
        headers = sorted({name.lower() for name in self._last["headers"]})
        return {"instance": self._last["instance"], "path": self._last["path"], "headers": headers,
                "parameters": parameters}  # fmt: skip


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
