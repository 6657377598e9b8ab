"""An event as a value, and as bytes on the wire."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol
from uuid import uuid4

import orjson

MAX_BYTES = 16_384
"""Of an event on the wire: ids and figures, never a body."""
MAX_TOPIC = 128
_TOPIC = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened: `topic` in words joined by dots, `data` of ids and figures, `source` the process that says so.

    Several subscribers get the same event: its data cannot be written to.
    """

    id: str
    topic: str
    source: str
    at: str
    """RFC 3339, UTC."""
    data: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the event as a JSON object."""
        return {"id": self.id, "topic": self.topic, "source": self.source, "at": self.at, "data": dict(self.data)}


class Publisher(Protocol):
    """Whatever takes events."""

    def publish(self, topic: str, data: Mapping[str, Any] | None = None) -> None:
        """Tell that something happened. Never blocks, never fails, from any thread."""


class NullPublisher:
    """Takes events and tells nobody."""

    def publish(self, topic: str, data: Mapping[str, Any] | None = None) -> None:
        """Do nothing."""


def new_event(topic: str, data: Mapping[str, Any] | None, *, source: str) -> Event:
    """Return an event of this moment.

    Raises:
        ValueError: the topic is not made of words joined by dots, or the data is no mapping.
    """
    if not is_topic(topic):
        raise ValueError("expected a topic to be words of a-z, 0-9, _ and - joined by dots, got another form")
    if data is not None and not isinstance(data, Mapping):
        raise ValueError("expected an event's data to be a mapping, got something else")
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Event(id=f"evt_{uuid4().hex}", topic=topic, source=source, at=at, data=dict(data or {}))


def encode(event: Event) -> bytes:
    """Return an event as bytes.

    Raises:
        ValueError: its data is no JSON, or it is longer than MAX_BYTES.
    """
    try:
        raw = orjson.dumps(event.as_json())
    except TypeError as exc:
        raise ValueError("expected an event's data to be JSON, got something else") from exc
    if len(raw) > MAX_BYTES:
        raise ValueError(f"expected an event to have at most {MAX_BYTES} bytes, got {len(raw)}")
    return raw


def decode(raw: bytes) -> Event:
    """Return the event that `encode` was given.

    Raises:
        ValueError: the bytes are no event.
    """
    if len(raw) > MAX_BYTES:
        raise ValueError(f"expected an event to have at most {MAX_BYTES} bytes, got {len(raw)}")
    fields = orjson.loads(raw)
    if not isinstance(fields, dict) or not isinstance(fields.get("data"), dict):
        raise ValueError("expected an event, got other JSON")  # noqa: TRY004  what was sent is wrong, not how we were called
    words: dict[str, Any] = {name: fields.get(name) for name in ("id", "topic", "source", "at")}
    if not all(isinstance(word, str) for word in words.values()) or not is_topic(words["topic"]):
        raise ValueError("expected an event's id, topic, source and time to be words, got another form")
    return Event(**words, data=MappingProxyType(fields["data"]))


def is_topic(topic: object) -> bool:
    """Say whether something is words joined by dots, of at most MAX_TOPIC characters."""
    return isinstance(topic, str) and len(topic) <= MAX_TOPIC and bool(_TOPIC.match(topic))
