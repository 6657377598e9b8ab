"""The latest events of the fleet, as this front door heard them."""

from __future__ import annotations

from collections import deque
from typing import Any

from infrastructure.optional.event_core import Event, matches

KEPT = 100


class RecentEvents:
    """The last 100 events, for operators; what happened before this process started is not among them."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT)

    def keep(self, event: Event) -> None:
        """Keep an event; the oldest goes."""
        self._events.append(event)

    def page(self, *, topic: str, limit: int) -> list[dict[str, Any]]:
        """Return up to `limit` events whose topic fits a pattern, newest first.

        Raises:
            ValueError: the pattern is none.
        """
        fitting = (event.as_json() for event in reversed(self._events) if matches(topic, event.topic))
        return [event for event, _ in zip(fitting, range(limit), strict=False)]
