"""Webhooks as values: endpoints, deliveries, and what is due."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson


class DeliveryStatus(StrEnum):
    """A delivery is pending until it was taken or its last attempt failed; a replay makes it pending again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Ending(StrEnum):
    """What an attempt leads to."""

    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"
    RELEASED = "released"
    """It was not made: the delivery is due again, and no attempt is counted."""


TEST_EVENT = "webhook.test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A registered receiver. Times are milliseconds since 1970 by Redis."""

    id: str
    tenant: str
    url: str
    description: str
    enabled: bool
    disabled_reason: str | None
    """`gone` (it answered 410), `failing` (for days), None: by its owner, or not at all."""
    created_ms: int
    updated_ms: int
    salt: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEndpoint:
    """An endpoint to be written; its URL has been checked."""

    id: str
    tenant: str
    url: str
    description: str
    enabled: bool
    salt: str
    fingerprint: str
    idempotency: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt of a delivery: `status` where there was an answer, `error` a class of failure, None when it was taken."""

    at_ms: int
    status: int | None
    latency_ms: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event on its way to one endpoint; its id is the event's, and the `webhook-id` of every attempt."""

    id: str
    endpoint: str
    type: str
    about: str
    """Id of the job, or of the endpoint under test."""
    status: DeliveryStatus
    created_ms: int
    next_ms: int | None
    tries: tuple[Try, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A claimed delivery: nobody else sends it for the length of the lease. `tried`: attempts made in this run of the schedule."""

    id: str
    endpoint: str
    claim: str
    type: str
    about: str
    created_ms: int
    tried: int
    url: str
    salts: tuple[str, ...]
    """Of the generations that sign, the newest first."""
    fingerprint: str

    @property
    def body(self) -> bytes:
        """Return the event's bytes, the same for every attempt: ids only."""
        return orjson.dumps(event(self.id, self.type, self.about, created_ms=self.created_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What the store made of an attempt. `stale`: the claim was another's by now, and nothing was written."""

    stale: bool
    disabled: str | None
    """Why the endpoint was disabled by it, None when it was not."""


def event(event_id: str, kind: str, about: str, *, created_ms: int) -> dict[str, Any]:
    """Return an event as its receiver gets it; `created_at` is in Unix seconds, as OpenAI's events have it."""
    return {"id": event_id, "object": "event", "type": kind, "created_at": created_ms // 1_000, "data": {"id": about}}
