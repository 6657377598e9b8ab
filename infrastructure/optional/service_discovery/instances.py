"""One instance of a service: what it says of itself, checked, as a value and as bytes."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from infrastructure.optional.validation_core import Rule, RuleSet

MAX_BYTES = 8_192
MAX_TAGS = 32
MAX_PORT = 65_535
MAX_PATH = 1_024
FIELDS = frozenset({"id", "name", "host", "port", "health_check", "tags", "metadata"})
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A process that serves. `port` and `health_check` are None where nobody connects to it (a worker)."""

    id: str
    name: str
    host: str
    port: int | None = None
    health_check: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the instance as a JSON object."""
        return {
            "id": self.id, "name": self.name, "host": self.host, "port": self.port, "health_check": self.health_check,
            "tags": list(self.tags), "metadata": dict(self.metadata),
        }  # fmt: skip


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and bool(_WORD.match(value))


def _is_port(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_PORT)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_path(value: Any) -> bool:
    return _is_text(value) and value.startswith("/") and len(value) <= MAX_PATH


def _is_small(metadata: Any) -> bool:
    try:
        return isinstance(metadata, Mapping) and len(orjson.dumps(dict(metadata))) <= MAX_BYTES
    except TypeError:
        return False


_Service = Mapping[str, Any]
RULES: RuleSet[_Service] = RuleSet(
    Rule("fields", "unknown_field", f"expected no field but {', '.join(sorted(FIELDS))}", lambda s: s.keys() <= FIELDS),
    Rule("name", "invalid_name", "expected name to be 1 to 128 letters, digits or . _ @ -", lambda s: _is_word(s.get("name"))),
    Rule("id", "invalid_id", "expected id to be 1 to 128 letters, digits or . _ @ -", lambda s: _is_word(s.get("id", "x"))),
    Rule("host", "invalid_host", "expected host to be a name or an address",
         lambda s: _is_text(s.get("host")) and bool(s["host"].strip()) and len(s["host"]) <= 255),  # noqa: PLR2004  a DNS name's most
    Rule("port", "invalid_port", "expected port to be 1 to 65535", lambda s: _is_port(s.get("port"))),
    Rule("health_check", "invalid_health_check", "expected health_check to be a path that begins with /",
         lambda s: s.get("health_check") is None or _is_path(s["health_check"])),
    Rule("tags", "invalid_tags", f"expected tags to be at most {MAX_TAGS} words",
         lambda s: isinstance(s.get("tags", []), (list, tuple)) and len(s.get("tags", [])) <= MAX_TAGS
         and all(_is_word(tag) for tag in s.get("tags", []))),
    Rule("metadata", "invalid_metadata", f"expected metadata to be JSON of at most {MAX_BYTES} bytes",
         lambda s: _is_small(s.get("metadata", {}))),
)  # fmt: skip
"""What a description must fulfil."""


def instance_of(service: Mapping[str, Any]) -> Instance:
    """Return what the guide's dictionary says: name, host, port, health_check, tags, metadata; `id` where one is given.

    Raises:
        ValueError: it is no mapping, or breaks a rule; all that it breaks are named.
    """
    if not isinstance(service, Mapping):
        raise ValueError("expected a service to be described by a dictionary, got something else")  # noqa: TRY004  one kind of error for every bad description
    found = RULES.check(service)
    if found:
        raise ValueError("; ".join(violation.message for violation in found))
    name = service["name"]
    return Instance(
        id=service.get("id") or f"{name}-{secrets.token_hex(6)}",
        name=name,
        host=service["host"],
        port=service.get("port"),
        health_check=service.get("health_check"),
        tags=tuple(service.get("tags", ())),
        metadata=dict(service.get("metadata", {})),
    )


def encode(instance: Instance) -> bytes:
    """Return an instance as bytes."""
    return orjson.dumps(instance.as_json())


def decode(raw: bytes) -> Instance | None:
    """Return the instance that `encode` was given; None when the bytes are none."""
    try:
        fields = orjson.loads(raw)
        return Instance(**{**fields, "tags": tuple(fields["tags"])})
    except (ValueError, TypeError, KeyError):
        return None
