"""The body of a completion: OpenAI's chat completion and what this service adds, checked in one pass."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import ValidationFailed
from workers.jobs.request import options
from workers.jobs.request.faults import faults
from workers.jobs.request.messages import Message
from workers.jobs.request.wire import Label, Part
from workers.jobs.webhooks.ids import is_endpoint_id

MAX_METADATA = 16
MAX_TOOLS = 128
_OURS = frozenset({"model", "cache", "priority", "deadline_s", "metadata", "webhook", "stream"})
# A model's name becomes part of a provider's URL: no dots that climb, no query.
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,255}\Z")

Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
Bias = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,10}$")]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class CompletionRequest(Part):
    """A completion to be done. `null` for an optional field is the same as leaving it out."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    model: str
    """A logical name of the configuration (`default`), `provider/model`, or a bare name that a provider's patterns claim."""
    messages: Annotated[list[Message], Field(min_length=1)]

    audio: options.AudioOutput | None = None
    frequency_penalty: Penalty | None = None
    function_call: options.FunctionCallChoice | None = None
    functions: Annotated[list[options.FunctionDefinition], Field(min_length=1, max_length=MAX_TOOLS)] | None = None
    logit_bias: Annotated[dict[TokenId, Bias], Field(max_length=1_024)] | None = None
    logprobs: bool | None = None
    max_completion_tokens: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1)
    modalities: Annotated[list[Literal["text", "audio"]], Field(min_length=1, max_length=2)] | None = None
    n: int | None = Field(None, ge=1, le=16)
    parallel_tool_calls: bool | None = None
    prediction: options.Prediction | None = None
    presence_penalty: Penalty | None = None
    prompt_cache_key: Label | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    response_format: options.ResponseFormat | None = None
    safety_identifier: Label | None = None
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    stop: options.Stop | None = None
    store: bool | None = None
    stream: bool | None = None
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    tool_choice: options.ToolChoice | None = None
    tools: Annotated[list[options.Tool], Field(min_length=1, max_length=MAX_TOOLS)] | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    top_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    user: Label | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    web_search_options: options.WebSearch | None = None

    cache: options.Cache | None = None
    """How the answer cache is used; equal requests share an answer by default, whatever their temperature."""
    priority: Literal["high", "normal", "low"] | None = None
    """Class of the queue, `normal` by default: a higher one is served first, of every tenth turn a lower one."""
    deadline_s: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Seconds from now by which the job must have ended."""
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MAX_METADATA)] | None = None
    """Up to 16 pairs of the caller's, kept and shown with the job: keys of up to 64 characters, values of up to 512."""
    webhook: str | None = None
    """Id of a registered endpoint, which is told of the job's end."""
    """The id of a registered endpoint."""

    @field_validator("messages", mode="before")
    @classmethod
    def _not_too_many(cls, messages: Any, info: ValidationInfo) -> Any:
        """Count before looking: a body of a million messages is not worth a million faults."""
        limit = _settings(info).limits.messages
        if isinstance(messages, list) and len(messages) > limit:
            raise ValueError(f"expected at most {limit} messages, got {len(messages)}")
        return messages

    @field_validator("model")
    @classmethod
    def _plain_model(cls, model: str) -> str:
        if not _MODEL.match(model) or ".." in model or "//" in model:
            raise ValueError("expected 1 to 256 letters, digits or . _ - : / @ +, beginning with a letter or digit")
        return model

    @field_validator("max_tokens", "max_completion_tokens")
    @classmethod
    def _within_tokens(cls, tokens: int | None, info: ValidationInfo) -> int | None:
        limit = _settings(info).limits.max_tokens
        if tokens is not None and tokens > limit:
            raise ValueError(f"expected at most {limit}, got {tokens}")
        return tokens

    @field_validator("stream")
    @classmethod
    def _whole(cls, stream: bool | None) -> bool | None:
        if stream:
            raise ValueError("expected false: the answer of a job comes whole")
        return stream

    @field_validator("deadline_s")
    @classmethod
    def _within_deadline(cls, deadline_s: float | None, info: ValidationInfo) -> float | None:
        limit = _settings(info).jobs.max_deadline_s
        if deadline_s is not None and deadline_s > limit:
            raise ValueError(f"expected at most {limit:g} seconds, got {deadline_s:g}")
        return deadline_s

    @field_validator("webhook")
    @classmethod
    def _possible_webhook(cls, webhook: str | None) -> str | None:
        if webhook is not None and not is_endpoint_id(webhook):
            raise ValueError("no such webhook endpoint; ids are whk_ and 24 hex digits")
        return webhook

    def call(self, *, cache_mode: str | None = None) -> dict[str, Any]:
        """Return what a worker needs to make the call: `model`, `params` as the provider gets them, `cache`.

        `cache_mode` is the mode where the body itself names none.
        """
        given = self.model_dump(exclude_unset=True)
        params = {name: value for name, value in given.items() if value is not None and name not in _OURS}
        return {"model": self.model, "params": params, "cache": _cache(given.get("cache"), cache_mode)}


def _cache(said: dict[str, Any] | None, mode: str | None) -> dict[str, Any] | None:
    if mode is None or (said or {}).get("mode") is not None:
        return said
    return {**(said or {}), "mode": mode}


def parse_request(body: Any, settings: Settings) -> CompletionRequest:
    """Return the request that a parsed JSON body is.

    Raises:
        ValidationFailed: with every fault at once in `data["errors"]`; a fault never holds a value of a prompt.
    """
    try:
        return CompletionRequest.model_validate(body, context=settings)
    except ValidationError as exc:
        found = faults(exc, body, tuple(CompletionRequest.model_fields))
    many = f"{len(found)} fields break" if len(found) > 1 else f"{found[0]['field']} breaks"
    raise ValidationFailed(f"{many} a rule; each is listed in errors", errors=found)


def _settings(info: ValidationInfo) -> Settings:
    return info.context if isinstance(info.context, Settings) else Settings()
