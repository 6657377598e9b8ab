"""When a delivery is tried again: the ten steps that Standard Webhooks suggests, and what a receiver asks for."""

from __future__ import annotations

import email.utils
import random
from collections.abc import Callable
from datetime import UTC, datetime

WAITS_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""After the first attempt, which is made at once, and after each that follows it; three days and a few hours in all."""
ATTEMPTS = 1 + len(WAITS_S)
JITTER = 0.1
LONGEST_WAIT_S = 86_400
LONGEST_HEADER = 64


def wait_ms(
    tried: int, *, asked_s: float | None = None, draw: Callable[[], float] = random.random
) -> int | None:  # fmt: skip
    """Return how long to wait after `tried` attempts, a tenth more or less; None: that was the last.

    `asked_s` is the receiver's Retry-After, which counts where it is longer, up to a day. `draw` gives 0 to 1.
    """
    if tried >= ATTEMPTS:
        return None
    planned_s = WAITS_S[max(tried, 1) - 1] * (1 - JITTER + 2 * JITTER * draw())
    return round(1_000 * max(planned_s, min(asked_s or 0, LONGEST_WAIT_S)))


def retry_after_s(text: str | None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Return what a Retry-After header asks for, in seconds or as a date; None where it asks for nothing that can be."""
    if not text or len(text) > LONGEST_HEADER:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        asked = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    left_s = (asked.replace(tzinfo=asked.tzinfo or UTC) - now()).total_seconds()
    return left_s if left_s > 0 else None
