"""Ids of endpoints and of their events."""

from __future__ import annotations

import re
import secrets

_ENDPOINT = re.compile(r"whk_[0-9a-f]{24}\Z")


def new_endpoint_id() -> str:
    """Return the id of a new endpoint."""
    return f"whk_{secrets.token_hex(12)}"


def new_event_id() -> str:
    """Return the id of an event that no job makes; a job's event has the digits of the job's id."""
    return f"evt_{secrets.token_hex(16)}"


def is_endpoint_id(text: str) -> bool:
    """Say whether a text has the form of an endpoint's id."""
    return _ENDPOINT.match(text) is not None
