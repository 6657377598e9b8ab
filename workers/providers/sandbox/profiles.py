"""Profiles: how an instance of the wall behaves while nothing is wrong with it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

MOST_INSTANCES = 100
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Limits(_Form):
    """What an instance lets one account do; what goes beyond is answered 429.

    Requests and tokens (prompt and answer together) flow back evenly over `window_s`; a rested account has a whole
    window's worth. `storm_s` refuses everything for that long from the moment it is set.
    """

    requests_per_minute: int | None = Field(None, ge=1, le=10_000_000)
    tokens_per_minute: int | None = Field(None, ge=1, le=1_000_000_000)
    concurrency: int | None = Field(None, ge=1, le=100_000)
    window_s: float = Field(60, gt=0, le=3_600)
    """The minute of the two fields above; a test may have a shorter one."""
    storm_s: Seconds = 0
    retry_after: Literal["seconds", "date", "none"] = "seconds"
    """The form of Retry-After in a 429."""


class Profile(_Form):
    """How long an instance's good answers take, what it lets an account do, and whether it has a port of its own.

    An answer takes `latency_s`, up to `jitter_s` more by the prompt's digest, and `per_token_s` for each of its tokens.
    The first `cold_calls` after the profile was set take up to `cold_s` more, less from call to call.
    """

    latency_s: Seconds = 0
    jitter_s: Seconds = 0
    per_token_s: Seconds = 0
    cold_calls: int = Field(0, ge=0, le=100_000)
    cold_s: Seconds = 0
    limits: Limits = Limits()
    port: Literal["none", "open", "closed"] = "none"
    """A port of the instance's own. closed: connecting is refused, and what is connected is cut off."""
    serials: bool = False
    """Ids of answers end in a number that no other answer has, so that a test can tell two of one prompt apart."""


PROFILES: TypeAdapter[dict[str, Profile]] = TypeAdapter(
    Annotated[dict[Name, Profile], Field(min_length=1, max_length=MOST_INSTANCES)]
)
