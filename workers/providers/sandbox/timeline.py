"""What reached each instance in each second, so that a test can see who was called during an outage."""

from __future__ import annotations

from collections import Counter
from typing import Any

MOST_SECONDS = 3_600
MOST_INSTANCES = 200
OTHER = "(other)"


class Timeline:
    """Counts by instance and second of arrival: how many came, and what they got."""

    def __init__(self) -> None:
        self._seconds: dict[str, dict[int, Counter[str]]] = {}

    def add(self, instance: str, second: int, what: str) -> None:
        """Count one thing of one second; the oldest seconds are forgotten, too many instances counted together."""
        if instance not in self._seconds and len(self._seconds) >= MOST_INSTANCES:
            instance = OTHER
        seconds = self._seconds.setdefault(instance, {})
        if second not in seconds:
            while len(seconds) >= MOST_SECONDS:
                seconds.pop(next(iter(seconds)))
            seconds[second] = Counter()
        seconds[second][what] += 1

    def shown(self) -> dict[str, Any]:
        """Return `{instance: {second: {what: count}}}`."""
        return {
            instance: {str(second): dict(sorted(counted.items())) for second, counted in sorted(seconds.items())}
            for instance, seconds in sorted(self._seconds.items())
        }
