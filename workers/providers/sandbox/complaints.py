"""What is wrong with a body sent to the control plane, in a sentence."""

from __future__ import annotations

import orjson
from pydantic import ValidationError

from workers.jobs.request.faults import faults
from workers.providers.sandbox.profiles import Limits, Profile
from workers.providers.sandbox.rules import Action, Match, Rule

MOST_TOLD = 5
_KNOWN = tuple({name: None for form in (Profile, Limits, Rule, Match, Action) for name in form.model_fields})


def told(error: ValueError, body: bytes) -> str:
    """Return what was expected, and where."""
    if not isinstance(error, ValidationError):
        return str(error)
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "expected the body to be JSON"
    found = [f"{one['field']}: {one['message']}" for one in faults(error, parsed, (), known_inside=_KNOWN)]
    more = [f"{len(found) - MOST_TOLD} more"] if len(found) > MOST_TOLD else []
    return "; ".join([*found[:MOST_TOLD], *more])
