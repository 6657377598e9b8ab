"""The sandbox's HTTP server: reads a request, decides by its fault rules what it gets, and counts it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from workers.providers.sandbox import control
from workers.providers.sandbox.answers import make, usage_of
from workers.providers.sandbox.asked import Asked, Refused
from workers.providers.sandbox.counters import Counters, Visit
from workers.providers.sandbox.delivery import hang, reset, spread, whole
from workers.providers.sandbox.faults import Faults, Request
from workers.providers.sandbox.instances import Instances, share_of
from workers.providers.sandbox.ports import Ports
from workers.providers.sandbox.profiles import Profile
from workers.providers.sandbox.reading import MOST_BODY_BYTES, NO_INSTANCE, Place, place_of, read_body, understand
from workers.providers.sandbox.replies import bad, good, hint, listing, refusal, throttled
from workers.providers.sandbox.rules import Action, Between
from workers.providers.sandbox.wire import Wire

MODELS = ("sandbox-small", "sandbox-large", "sandbox-claude")
_SAID = ("messages", "system")


class Sandbox:
    """A wall of providers that answer from the prompt alone, over the OpenAI and Anthropic wire formats.

    Each instance answers as its profile says, first of all as fast; one without a profile takes `latency_s` and up to
    `jitter_s` more, by the prompt's digest (both seconds). What a fault rule says goes before; an error comes at once
    unless its rule has a latency of its own. Limits are kept for what would be answered.
    """

    def __init__(self, *, latency_s: float = 0, jitter_s: float = 0, host: str = "127.0.0.1") -> None:
        self.counters = Counters()
        self.faults = Faults()
        self.instances = Instances(Profile(latency_s=latency_s, jitter_s=jitter_s))
        self.ports = Ports(self.server, host=host)
        self._control = control.Control(
            faults=self.faults,
            counters=self.counters,
            instances=self.instances,
            ports=self.ports,
            last=self._shown_last,
        )
        self._last: dict[str, Any] = {}

    def server(self, instance: str = NO_INSTANCE) -> web.Server:
        """Return the protocol factory to listen with, for a port whose calls are an instance's; needs a running loop."""
        loop = asyncio.get_running_loop()

        def with_room(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MOST_BODY_BYTES)

        handle = partial(self.handle, instance=instance)
        # Cancelling what a client no longer waits for keeps `in_flight` true.
        return web.Server(handle, handler_cancellation=True, request_factory=with_room, access_log=None)

    async def handle(self, request: web.BaseRequest, *, instance: str = NO_INSTANCE) -> web.StreamResponse:
        """Return the answer to any request."""
        place = place_of(request, instance=instance)
        if place.path.startswith(control.PREFIX):
            return await self._control.handle(request, path=place.path)
        if place.path == "/":
            return whole(hint(instance=instance))
        with self.counters.visit(instance=place.instance, path=place.path) as visit:
            try:
                return await self._serve(request, visit, place=place)
            except Refused as refused:
                visit.decide(str(refused.status))
                return whole(refusal(place.wire, refused))

    async def _serve(self, request: web.BaseRequest, visit: Visit, *, place: Place) -> web.StreamResponse:
        asked = await self._asked(request, visit, place)
        action = self._action(request, asked, place)
        if asked is None or (action is not None and not action.answers_well):
            await asyncio.sleep(_own_pause_s(action, asked) or 0)
            if action is None:
                visit.decide("200")
                return whole(listing(place.wire, MODELS))
            return await _faulty(request, visit, wire=place.wire, asked=asked, action=action)
        instance = self.instances.of(place.instance)
        tokens = usage_of(asked, make(asked)).total if instance.counts_tokens else 0
        if refused := instance.limiter.admit(tokens):
            visit.decide("429")
            return whole(throttled(place.wire, refused, instance.limiter))
        with instance.limiter.at_once():
            pause_s = instance.pause_s(asked, answer_tokens=tokens and tokens - asked.prompt_tokens)
            own_s = _own_pause_s(action, asked)
            await asyncio.sleep(pause_s if own_s is None else own_s)
            return await self._answer(request, visit, place=place, asked=asked, action=action)

    async def _answer(
        self, request: web.BaseRequest, visit: Visit, *, place: Place, asked: Asked, action: Action | None
    ) -> web.StreamResponse:
        """Send an answer in the shape of a good one."""
        instance = self.instances.of(place.instance)
        if instance.profile.serials:
            asked = replace(asked, serial=self.instances.next_serial())
        headers = instance.limiter.headers(place.wire.NAME)
        if action is not None:
            return await _faulty(request, visit, wire=place.wire, asked=asked, action=action, headers=headers)
        visit.decide("200")
        reply = good(place.wire, asked, None).with_headers(headers)
        return await spread(request, reply) if reply.streamed else whole(reply)

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

    def _shown_last(self) -> dict[str, Any]:
        """Return the last call's place, header names and parameters, without what was said in it."""
        if not self._last:
            return {}
        parameters = {name: value for name, value in self._last["body"].items() if name not in _SAID}
        headers = sorted({name.lower() for name in self._last["headers"]})
        return {"instance": self._last["instance"], "path": self._last["path"], "headers": headers,
                "parameters": parameters}  # fmt: skip


def _own_pause_s(action: Action | None, asked: Asked | None) -> float | None:
    latency_s = None if action is None else action.latency_s
    if isinstance(latency_s, Between):
        share = 0.0 if asked is None else share_of(asked)
        return latency_s.min + (latency_s.max - latency_s.min) * share
    return latency_s


async def _faulty(
    request: web.BaseRequest,
    visit: Visit,
    *,
    wire: Wire,
    asked: Asked | None,
    action: Action,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    if action.hang:
        visit.decide("hang")
        return await hang()
    if action.reset:
        visit.decide("reset")
        return reset(request)
    usual = listing(wire, MODELS) if asked is None else good(wire, asked, action)
    reply = (bad(wire, action) or usual).with_headers({**(headers or {}), **action.sent_headers()})
    visit.decide("cut" if action.cut else str(reply.status))
    if reply.streamed or action.cut or action.slow_body_s:
        return await spread(request, reply, over_s=action.slow_body_s, cut=action.cut)
    return whole(reply)
