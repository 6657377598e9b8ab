"""Anthropic's messages wire format, as the provider speaks it."""

from __future__ import annotations

from typing import Any

import orjson

from workers.providers.sandbox.answers import Made, Usage, count_tokens, pieces
from workers.providers.sandbox.asked import (
    Asked,
    Message,
    Refused,
    Tool,
    conversation_digest,
    last_prompt,
    read_count,
    read_messages,
    read_model,
    text_of,
)

NAME = "anthropic"
# The type and message that a status usually comes with.
_ERRORS: dict[int, tuple[str, str]] = {
    400: ("invalid_request_error", "The request is not valid."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Payment is required."),
    403: ("permission_error", "The key has no permission for this model."),
    404: ("not_found_error", "The model was not found."),
    413: ("request_too_large", "The request exceeds the maximum size."),
    429: ("rate_limit_error", "The rate limit of the account was exceeded."),
    504: ("timeout_error", "The request timed out."),
    529: ("overloaded_error", "Overloaded"),
}
_SERVER_ERROR = ("api_error", "Internal server error")
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def read(body: dict[str, Any]) -> Asked:
    """Return what a request's body asks; Refused as the provider would refuse it."""
    max_tokens = read_count(body, "max_tokens")
    if max_tokens is None:
        raise Refused(400, "expected max_tokens to be set")
    messages = read_messages(body)
    system = text_of(body.get("system"))
    spoken = [Message("system", system), *messages] if system else messages
    return Asked(
        model=read_model(body),
        prompt=last_prompt(messages),
        digest=conversation_digest(spoken),
        prompt_tokens=max(1, sum(count_tokens(message.text) for message in spoken)),
        max_tokens=max_tokens,
        stream=body.get("stream") is True,
        stream_usage=True,
        tool=_forced_tool(body),
    )


def _forced_tool(body: dict[str, Any]) -> Tool | None:
    choice = body.get("tool_choice") or {}
    tools = [tool for tool in body.get("tools") or [] if isinstance(tool, dict) and "name" in tool]
    if choice.get("type") == "tool":
        tools = [tool for tool in tools if tool["name"] == choice.get("name")]
    elif choice.get("type") != "any":
        return None
    if not tools:
        raise Refused(400, "expected tool_choice to name one of the tools")
    return Tool(tools[0]["name"], tools[0].get("input_schema") or {})


def answer(asked: Asked, made: list[Made], usage: Usage | None) -> dict[str, Any]:
    """Return a whole answer; without `usage` where that is None."""
    return {
        **_head(asked),
        "content": _content(asked, made),
        "stop_reason": _stop_reason(made),
        "stop_sequence": None,
        **({} if usage is None else {"usage": _usage(usage)}),
    }


def _head(asked: Asked) -> dict[str, Any]:
    return {"id": f"msg_sandbox_{asked.answer_id}", "type": "message", "role": "assistant", "model": asked.model}


def _stop_reason(made: list[Made]) -> str:
    return _STOP_REASONS[made[0].finish] if made else "end_turn"


def _content(asked: Asked, made: list[Made]) -> list[dict[str, Any]] | None:
    if not made:
        return []
    choice = made[0]
    if choice.call is not None:
        arguments = orjson.loads(choice.call.arguments)
        return [{"type": "tool_use", "id": f"toolu_{asked.digest:016x}", "name": choice.call.name, "input": arguments}]
    return None if choice.text is None else [{"type": "text", "text": choice.text}]


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "output_tokens": usage.completion,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }


def events(asked: Asked, made: list[Made], usage: Usage | None) -> list[bytes]:
    """Return a streamed answer's server-sent events."""
    reported = {} if usage is None else {"usage": _usage(usage)}
    begun = {**_head(asked), "content": [], "stop_reason": None, "stop_sequence": None, **reported}
    blocks = _content(asked, made) or []
    parts: list[dict[str, Any]] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(blocks):
        parts += _block_events(index, block)
    ended = {"stop_reason": _stop_reason(made), "stop_sequence": None}
    parts += [{"type": "message_delta", "delta": ended, **reported}, {"type": "message_stop"}]
    return [b"event: %b\ndata: %b\n\n" % (part["type"].encode(), orjson.dumps(part)) for part in parts]


def _block_events(index: int, block: dict[str, Any]) -> list[dict[str, Any]]:
    empty: dict[str, Any]
    if block["type"] == "text":
        empty = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
    else:
        empty = {**block, "input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": orjson.dumps(block["input"]).decode()}]
    return [
        {"type": "content_block_start", "index": index, "content_block": empty},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def error(status: int, *, kind: str | None = None, code: str | None = None, message: str | None = None) -> Any:
    """Return the error object of a status, with the parts that are given in place of the usual ones; it has no code."""
    del code
    usual_kind, usual_message = _ERRORS.get(status, _SERVER_ERROR)
    return {"type": "error", "error": {"type": kind or usual_kind, "message": message or usual_message}}


def models(names: tuple[str, ...]) -> dict[str, Any]:
    """Return the list of models."""
    data = [{"type": "model", "id": n, "display_name": n, "created_at": "2024-01-01T00:00:00Z"} for n in names]
    return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}
