"""Fault rules: which requests get something other than a good answer, and what."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from time import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from workers.providers.sandbox.presets import PRESETS

Lie = Literal["not-json", "empty-object", "error-object", "no-choices", "null-content", "empty-content",
              "content-filter", "wrong-usage", "no-usage"]  # fmt: skip
Seconds = Annotated[float, Field(ge=0, le=86_400)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Between(_Form):
    """A number of seconds drawn evenly between two bounds."""

    min: Seconds
    max: Seconds


class ErrorBody(_Form):
    """Parts of the wire's error object, each in place of the status's usual one."""

    type: str | None = None
    code: str | None = None
    message: str | None = None


class Match(_Form):
    """Which requests a rule is for: all that is set must hold. `*` and `?` in a name stand for any text, any letter."""

    model: str = "*"
    wire: Literal["openai", "anthropic", "*"] = "*"
    instance: str = "*"
    path: str = "*"
    header: dict[str, str] = Field(default_factory=dict)
    contains: str = ""
    """A text in the last user message."""


class Action(_Form):
    """What happens to a request: after `latency_s`, the first that is set of hang, reset, lie and status.

    `headers` go with whatever is answered; `cut` ends the connection in the middle of the body; `slow_body_s` spreads
    the body over that time. With none of these but a latency the answer is good, only late.
    """

    latency_s: Seconds | Between | None = None
    hang: bool = False
    reset: bool = False
    cut: bool = False
    slow_body_s: Seconds = 0
    lie: Lie | None = None
    status: int | None = Field(None, ge=400, le=599)
    error: ErrorBody = ErrorBody()
    headers: dict[str, str] = Field(default_factory=dict)
    retry_after_date_s: float | None = None
    """Sets Retry-After to the HTTP date that lies this many seconds ahead when the answer is sent."""

    @property
    def answers_well(self) -> bool:
        """Say whether an answer in the shape of a good one comes, so that the sandbox's usual latency applies."""
        return not (self.hang or self.reset) and self.status is None

    def sent_headers(self) -> dict[str, str]:
        """Return the headers to send now."""
        if self.retry_after_date_s is None:
            return self.headers
        return {**self.headers, "Retry-After": formatdate(time() + self.retry_after_date_s, usegmt=True)}


class Rule(_Form):
    """One fault: which requests, how many of them, and what happens to them.

    Of the requests that match, the first `after` are let through; of the others each `every`-th is hit, `times` at
    most, each with `probability`. `preset` names a shape from `presets.py`, which `match` and `action` refine.
    """

    preset: str | None = None
    match: Match = Match()
    action: Action = Action()
    probability: float = Field(1, gt=0, le=1)
    after: int = Field(0, ge=0)
    every: int = Field(1, ge=1)
    times: int | None = Field(None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not isinstance(given.get("preset"), str):
            return given
        preset = PRESETS.get(given["preset"])
        if preset is None:
            raise ValueError(f"expected preset to be one of GET /_sandbox/presets, got {given['preset']}")
        match = _over({"wire": preset.wire}, given.get("match", {}))
        return {**given, "match": match, "action": _over(preset.action, given.get("action", {}))}


def _over(base: dict[str, Any], given: Any) -> Any:
    return {**base, **given} if isinstance(given, Mapping) else given
