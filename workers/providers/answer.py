"""A provider's answer as OpenAI shapes it, or the reason why it is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from infrastructure.optional.validation_core import Rule, RuleSet

SAFE_DIGITS = 18  # always fits 64 bits, which is what orjson writes
MOST_TOKENS = 2**53

# What OpenAI's chat completion has, and the reasoning text of those who show it. LiteLLM adds fields of its own.
_MESSAGE = ("tool_calls", "function_call", "refusal", "audio", "annotations", "reasoning_content")
_USAGE = {
    "prompt_tokens_details": ("cached_tokens", "audio_tokens"),
    "completion_tokens_details": (
        "reasoning_tokens", "audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens",
    ),
}  # fmt: skip
_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")


def completion(answer: Any, *, model: str) -> dict[str, Any]:
    """Return LiteLLM's answer as a plain chat completion; `model` is the name to use when the provider gave none."""
    raw: dict[str, Any] = answer.model_dump(warnings=False)  # a warning would quote the answer
    shaped = {
        "id": raw.get("id"),
        "object": "chat.completion",
        "created": raw.get("created"),
        "model": raw.get("model") or model,
        "choices": [_choice(choice, index) for index, choice in enumerate(raw.get("choices") or ())],
        "usage": _usage(raw.get("usage")),
        "system_fingerprint": raw.get("system_fingerprint"),
    }
    if raw.get("service_tier") is not None:
        shaped["service_tier"] = raw["service_tier"]
    return _storable(shaped)


def fault(result: Mapping[str, Any]) -> str | None:
    """Say in a sentence why a completion is a bad answer, None when it is a good one."""
    found = GOOD.first(result)
    return found.message if found else None


def innocent(result: Mapping[str, Any]) -> bool:
    """Say whether a bad answer is so for the request's sake: filtered, or cut off by the number of tokens it asked for."""
    choices = result["choices"]
    return bool(choices) and all(choice["finish_reason"] in {"content_filter", "length"} for choice in choices)


def cut_short(result: Mapping[str, Any]) -> bool:
    """Say whether an answer without content is one that had no more tokens for it: somebody did think."""
    choices, usage = result["choices"], result.get("usage") or {}
    cut = bool(choices) and all(choice["finish_reason"] == "length" for choice in choices)
    return cut and bool(usage.get("completion_tokens"))


def _filtered(result: Mapping[str, Any]) -> bool:
    return all(choice["finish_reason"] == "content_filter" for choice in result["choices"])


GOOD: RuleSet[Mapping[str, Any]] = RuleSet(
    Rule("choices", "no_choices", "the provider answered without choices", lambda result: bool(result["choices"])),
    Rule(
        "unfiltered",
        "content_filtered",
        "the provider's content filter withheld the answer",
        lambda result: not _filtered(result),
    ),
    Rule(
        "content",
        "no_content",
        "the provider answered without content",
        lambda result: any(_says_something(choice["message"]) for choice in result["choices"]),
    ),
)
"""What makes a completion a good answer; each rule relies on those before it."""


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    """Return what orjson can write: an answer with half an emoji, an endless number or NaN is paid all the same."""
    try:
        orjson.dumps(value)
    except TypeError:
        text = json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace")
        mended: dict[str, Any] = json.loads(
            text,
            parse_int=lambda digits: int(digits) if len(digits) <= SAFE_DIGITS else None,
            parse_constant=lambda _: None,
        )
        return mended
    return value


def _choice(raw: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {
        "index": raw.get("index", index),
        "message": _message(raw.get("message") or {}),
        "logprobs": raw.get("logprobs"),
        "finish_reason": raw.get("finish_reason"),
    }


def _message(raw: Mapping[str, Any]) -> dict[str, Any]:
    refusal = (raw.get("provider_specific_fields") or {}).get("refusal")  # where LiteLLM keeps it
    fields = {"refusal": refusal, **{name: raw[name] for name in _MESSAGE if name in raw}}
    said = {name: value for name, value in fields.items() if value not in (None, [])}
    return {"role": raw.get("role") or "assistant", "content": raw.get("content"), **said}


def _says_something(message: Mapping[str, Any]) -> bool:
    content = message["content"]
    if isinstance(content, str) and content.strip():
        return True
    return any(message.get(name) for name in ("tool_calls", "function_call", "refusal", "audio"))


def _usage(raw: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the usage, None when the provider gave none or an impossible one: nothing is made of nothing."""
    tokens = {name: (raw or {}).get(name) for name in _TOKENS}
    if any(not isinstance(count, int) or not 0 <= count <= MOST_TOKENS for count in tokens.values()) or not any(
        tokens.values()
    ):
        return None
    usage: dict[str, Any] = dict(tokens)
    for name, parts in _USAGE.items():
        details = (raw or {}).get(name) or {}
        if known := {part: details[part] for part in parts if details.get(part) is not None}:
            usage[name] = known
    return usage
