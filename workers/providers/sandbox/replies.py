"""Replies: what an answer, an error or a lie comes to on the wire, before it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from workers.providers.sandbox.answers import Made, Usage, filtered, make, usage_of, without_text
from workers.providers.sandbox.asked import Asked, Refused
from workers.providers.sandbox.limiter import Limiter, Refusal
from workers.providers.sandbox.rules import Action, Lie
from workers.providers.sandbox.wire import Wire

JSON = "application/json"
EVENTS = "text/event-stream"
_NOT_JSON = b"<html><body><h1>Welcome to nginx</h1></body></html>"
_WRONG_USAGE = Usage(prompt=-3, completion=10**9)


@dataclass(frozen=True, slots=True)
class Reply:
    """A status, a body in one part (plain) or several (streamed), and its headers."""

    status: int
    parts: list[bytes]
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def streamed(self) -> bool:
        """Say whether the body goes out as an event stream, without a length."""
        return self.content_type == EVENTS

    def with_headers(self, headers: Mapping[str, str]) -> Reply:
        """Return the same reply with more headers."""
        return replace(self, headers={**self.headers, **headers})


def hint(*, instance: str) -> Reply:
    """Return what a person finds at `/`."""
    return _json(
        200,
        {
            "sandbox": "AI Provider: providers that cost nothing and make their answers up; see docs/providers.md",
            "instance": instance,
            "openai": "POST /v1/chat/completions, GET /v1/models, with any API key",
            "anthropic": "POST /v1/messages, with any API key",
            "more providers": "each name is one: /p/NAME/v1/…",
            "control": "GET /_sandbox/instances, faults, presets, counters, timeline, last; PUT or DELETE instances, faults",
        },
    )


def good(wire: Wire, asked: Asked, action: Action | None) -> Reply:
    """Return the answer to what is asked, bent by the action's lie where it has one."""
    made = make(asked)
    usage: Usage | None = usage_of(asked, made)
    if action is not None and action.lie is not None:
        made, usage = _bent(action.lie, made, usage)
    if asked.stream:
        return Reply(200, wire.events(asked, made, usage), EVENTS)
    return _json(200, wire.answer(asked, made, usage))


def _bent(lie: Lie, made: list[Made], usage: Usage | None) -> tuple[list[Made], Usage | None]:
    match lie:
        case "no-choices":
            return [], usage
        case "null-content":
            return without_text(made, text=None), usage
        case "empty-content":
            return without_text(made, text=""), usage
        case "content-filter":
            return filtered(made), usage
        case "wrong-usage":
            return made, _WRONG_USAGE
        case _:
            return made, None


def listing(wire: Wire, names: tuple[str, ...]) -> Reply:
    """Return the list of models."""
    return _json(200, wire.models(names))


def refusal(wire: Wire, refused: Refused) -> Reply:
    """Return the error that a request without sense gets."""
    return _json(refused.status, wire.error(refused.status, code=refused.code, message=refused.message))


def throttled(wire: Wire, refused: Refusal, limiter: Limiter) -> Reply:
    """Return the 429 of a call that goes beyond an account's limits."""
    reply = _json(429, wire.error(429, message=f"Rate limit reached for {refused.what}."))
    return reply.with_headers({**limiter.headers(wire.NAME), **limiter.retry_after(refused)})


def bad(wire: Wire, action: Action) -> Reply | None:
    """Return the reply of an action that answers whatever was asked with the same, or None when it does not."""
    match action.lie:
        case "not-json":
            return Reply(200, [_NOT_JSON], "text/html")
        case "empty-object":
            return _json(200, {})
        case "error-object":
            return _json(200, wire.error(529, message="Overloaded"))
    if action.status is None:
        return None
    error = action.error
    return _json(action.status, wire.error(action.status, kind=error.type, code=error.code, message=error.message))


def _json(status: int, body: Any) -> Reply:
    return Reply(status, [orjson.dumps(body)])
