"""What a failed call cost: nothing, what its body says was used, or nobody knows."""

from __future__ import annotations

from typing import Any

import orjson

from workers.providers.calls import Target
from workers.providers.classify import Failure
from workers.providers.heard import Heard
from workers.providers.pricing import DIGITS

WAITED = frozenset({408, 504, 524})
"""Somebody between us and the model gave up waiting; the model may have gone on."""
_USED = (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"))
"""Names of the two counts on the OpenAI and on the Anthropic wire."""


def failed_call_usd(failure: Failure, heard: Heard, target: Target, *, priced: bool) -> float | None:
    """Return the cost of a call that failed: 0 when it is surely free, None when it may have been billed.

    Free is what never left us, and what was answered with an error. A good status around a bad body is billed for what it
    says was used; no answer, or a cut one, may be. `priced`: costs are counted at all.
    """
    if heard.asked and not heard.sent:
        return 0.0
    if heard.status is not None and not _good(heard.status):
        return None if heard.status in WAITED else 0.0
    if not failure.kind.may_be_billed:
        return 0.0
    return _used_usd(heard.body, target) if priced else None


def _good(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004  the class of HTTP status


def _used_usd(body: bytes, target: Target) -> float | None:
    try:
        usage = orjson.loads(body)["usage"]
        used = next((usage[one], usage[other]) for one, other in _USED if one in usage)
    except (ValueError, LookupError, TypeError, StopIteration):
        return None
    if target.prices is None or not all(_count(each) for each in used):
        return None
    cost: float = used[0] * target.prices[0] + used[1] * target.prices[1]
    return round(cost, DIGITS)


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0
