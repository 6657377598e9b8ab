"""The named shapes that a provider's answer can take: errors, broken connections, and lies under status 200."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Preset:
    """A wire format and what happens to a request on it, as a rule's `action`."""

    wire: str
    action: dict[str, Any]


def _openai() -> dict[str, dict[str, Any]]:
    too_long = "This model's maximum context length is 8192 tokens. However, your messages resulted in 20480 tokens."
    refused = "Your request was rejected as a result of our safety system."
    no_money = "You exceeded your current quota, please check your plan and billing details."
    return {
        **{str(status): {"status": status} for status in (400, 401, 402, 403, 404, 408, 409, 413, 422)},
        **{str(status): {"status": status} for status in (500, 502, 503, 504, 529)},
        "400-context-length": _error(400, code="context_length_exceeded", message=too_long),
        "400-content-policy": _error(400, code="content_policy_violation", message=refused),
        "429-rate": {"status": 429},
        "429-insufficient-quota": _error(429, kind="insufficient_quota", code="insufficient_quota", message=no_money),
        "hang": {"hang": True},
        "reset": {"reset": True},
        "cut": {"cut": True},
        **{lie: {"lie": lie} for lie in ("not-json", "empty-object", "error-object", "no-choices", "null-content",
                                         "empty-content", "content-filter")},
    }  # fmt: skip


def _anthropic() -> dict[str, dict[str, Any]]:
    too_long = "prompt is too long: 210000 tokens > 200000 maximum"
    no_money = "Your credit balance is too low to access the API. Please go to Plans & Billing to purchase credits."
    return {
        **{str(status): {"status": status} for status in (400, 401, 403, 404, 413, 429, 500, 503, 504, 529)},
        "400-prompt-too-long": _error(400, message=too_long),
        "400-credit-balance": _error(400, message=no_money),
        "overloaded-200": {"lie": "error-object"},
        "not-json": {"lie": "not-json"},
        "hang": {"hang": True},
        "reset": {"reset": True},
    }


def _retry_after() -> dict[str, dict[str, Any]]:
    texts = {"0": "0", "7": "7", "60": "60", "61": "61", "minus-5": "-5", "1000000000": "1000000000",
             "garbage": "soon, perhaps"}  # fmt: skip
    shapes: dict[str, dict[str, Any]] = {name: {"headers": {"Retry-After": text}} for name, text in texts.items()}
    shapes["date"] = {"retry_after_date_s": 20}
    return {f"429-retry-after-{name}": {"status": 429, **shape} for name, shape in shapes.items()}


def _error(status: int, *, message: str, kind: str | None = None, code: str | None = None) -> dict[str, Any]:
    parts = {"type": kind, "code": code, "message": message}
    return {"status": status, "error": {name: value for name, value in parts.items() if value is not None}}


PRESETS: dict[str, Preset] = {
    **{f"openai-{name}": Preset("openai", action) for name, action in (_openai() | _retry_after()).items()},
    **{f"anthropic-{name}": Preset("anthropic", action) for name, action in _anthropic().items()},
}
