"""OpenAI's chat completion wire format, as a provider speaks it."""

from __future__ import annotations

import time
from typing import Any

import orjson

from workers.providers.sandbox.answers import Call, Made, Usage, count_tokens, pieces
from workers.providers.sandbox.asked import (
    Asked,
    Refused,
    Tool,
    conversation_digest,
    last_prompt,
    read_count,
    read_messages,
    read_model,
)

NAME = "openai"
MOST_CHOICES = 128
# The type, code and message that a status usually comes with.
_ERRORS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("billing_error", "payment_required", "Payment is required."),
    403: ("invalid_request_error", "permission_denied", "The project has no access to this model."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    408: ("server_error", "request_timeout", "The request timed out."),
    409: ("invalid_request_error", "conflict", "The resource is locked by another request."),
    413: ("invalid_request_error", "request_too_large", "The request is too large."),
    422: ("invalid_request_error", None, "The request cannot be processed."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    503: ("server_error", "server_overloaded", "The engine has too many requests, try again later."),
}
_SERVER_ERROR = ("server_error", None, "The server had an error while processing the request.")


def read(body: dict[str, Any]) -> Asked:
    """Return what a request's body asks; Refused as a provider would refuse it."""
    messages = read_messages(body)
    choices = read_count(body, "n") or 1
    if choices > MOST_CHOICES:
        raise Refused(400, f"expected n to be at most {MOST_CHOICES}, got {choices}")
    return Asked(
        model=read_model(body),
        prompt=last_prompt(messages),
        digest=conversation_digest(messages),
        prompt_tokens=max(1, sum(count_tokens(message.text) for message in messages)),
        choices=choices,
        max_tokens=read_count(body, "max_completion_tokens", "max_tokens"),
        stream=body.get("stream") is True,
        stream_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        tool=_forced_tool(body),
        json_schema=_schema(body.get("response_format")),
    )


def _forced_tool(body: dict[str, Any]) -> Tool | None:
    choice, tools = body.get("tool_choice"), body.get("tools") or []
    functions = [tool["function"] for tool in tools if isinstance(tool, dict) and "function" in tool]
    if isinstance(choice, dict):
        name = (choice.get("function") or {}).get("name")
        functions = [function for function in functions if function.get("name") == name]
    elif choice != "required":
        return None
    if not functions:
        raise Refused(400, "expected tool_choice to name one of the tools")
    return Tool(functions[0]["name"], functions[0].get("parameters") or {})


def _schema(response_format: Any) -> dict[str, Any] | None:
    if not isinstance(response_format, dict) or response_format.get("type") not in {"json_object", "json_schema"}:
        return None
    return (response_format.get("json_schema") or {}).get("schema") or {}


def answer(asked: Asked, made: list[Made], usage: Usage | None) -> dict[str, Any]:
    """Return a whole answer; without `usage` where that is None."""
    return {
        **_head(asked, "chat.completion"),
        "choices": [_choice(asked, index, choice) for index, choice in enumerate(made)],
        **({} if usage is None else {"usage": _usage(usage)}),
    }


def _head(asked: Asked, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-sandbox-{asked.answer_id}",
        "object": kind,
        "created": int(time.time()),
        "model": asked.model,
        "system_fingerprint": "fp_sandbox",
    }


def _choice(asked: Asked, index: int, made: Made) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": made.text, "refusal": None}
    if made.call is not None:
        message["tool_calls"] = [_call(asked, made.call)]
    return {"index": index, "message": message, "finish_reason": made.finish, "logprobs": None}


def _call(asked: Asked, call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": f"call_{asked.digest:016x}", "type": "function", "function": function}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def events(asked: Asked, made: list[Made], usage: Usage | None) -> list[bytes]:
    """Return a streamed answer's server-sent events; usage in the last chunk where the request asks for it."""
    head = _head(asked, "chat.completion.chunk")
    chunks = [
        {**head, "choices": [{"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}]}
        for index, choice in enumerate(made)
        for delta, finish in _deltas(asked, choice)
    ]
    if asked.stream_usage and usage is not None:
        chunks.append({**head, "choices": [], "usage": _usage(usage)})
    return [b"data: %b\n\n" % orjson.dumps(chunk) for chunk in chunks] + [b"data: [DONE]\n\n"]


def _deltas(asked: Asked, made: Made) -> list[tuple[dict[str, Any], str | None]]:
    first: dict[str, Any] = {"role": "assistant", "content": None if made.text is None else ""}
    if made.call is not None:
        first["tool_calls"] = [{"index": 0, **_call(asked, made.call)}]
    said: list[tuple[dict[str, Any], str | None]] = [({"content": piece}, None) for piece in pieces(made.text or "")]
    return [(first, None), *said, ({}, made.finish)]


def error(status: int, *, kind: str | None = None, code: str | None = None, message: str | None = None) -> Any:
    """Return the error object of a status, with the parts that are given in place of the usual ones."""
    usual_kind, usual_code, usual_message = _ERRORS.get(status, _SERVER_ERROR)
    body = {"message": message or usual_message, "type": kind or usual_kind, "param": None, "code": code or usual_code}
    return {"error": body}


def models(names: tuple[str, ...]) -> dict[str, Any]:
    """Return the list of models."""
    data = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "sandbox"} for name in names]
    return {"object": "list", "data": data}
