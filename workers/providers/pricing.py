"""What a call cost, in USD; None where nobody knows, never a made-up 0."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from infrastructure.core.config_core.settings import Price
from workers.providers.library import Endpoint, Library

PER_MILLION = 1_000_000
DIGITS = 12  # a millionth of a millionth of a dollar: below it is only the float's own noise


def cost_usd(
    usage: Mapping[str, Any] | None, *, price: Price | None, library: Library, endpoint: Endpoint, answer: Any
) -> float | None:
    """Return the price of a usage.

    The configuration's `price` comes first; then LiteLLM's table, which knows about cached and reasoning tokens and
    reads them from its own `answer`. None when there is no usage, or neither has a price.
    """
    if usage is None:
        return None
    if price is not None:
        return configured_cost(usage, price=price)
    try:
        cost = library.table_cost(endpoint, answer.usage, service_tier=getattr(answer, "service_tier", None))
    except Exception:  # noqa: BLE001  the table raises whatever it likes for what it does not know; a job must not fail
        return None
    return (
        round(cost, DIGITS) if cost > 0 and math.isfinite(cost) else None
    )  # used tokens at no price: the table has a gap


def configured_cost(usage: Mapping[str, Any], *, price: Price) -> float:
    """Return the cost of a usage at prices for a million tokens."""
    cost: float = usage["prompt_tokens"] * price.input + usage["completion_tokens"] * price.output
    return round(cost / PER_MILLION, DIGITS)
