"""A histogram of durations whose percentiles are within 2 %, and which adds up over processes.

Buckets are powers of `GAMMA`, the same everywhere, so that merging is adding (DDSketch: Masson, Rim, Lee, VLDB 2019): the
value `2 * GAMMA**i / (GAMMA + 1)` is at most `ERROR` away from every value in bucket i.
"""

from __future__ import annotations

import math
from math import isfinite
from typing import Any

ERROR = 0.02
GAMMA = (1 + ERROR) / (1 - ERROR)
BUCKETS = "buckets"
LEAST_MS = 1e-5  # ten nanoseconds: what is shorter counts as that
MOST_MS = 1e10  # a hundred days
_PER_BUCKET = 1 / math.log(GAMMA)
_MIDDLE = 2 / (GAMMA + 1)
_LEAST, _MOST = (math.ceil(math.log(edge) * _PER_BUCKET) for edge in (LEAST_MS, MOST_MS))


class Histogram:
    """Counts of values by bucket, with their exact count, sum, least and most. All values are milliseconds."""

    __slots__ = ("buckets", "count", "most_ms", "sum_ms")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.sum_ms = 0.0
        self.most_ms = 0.0

    def add(self, value_ms: float) -> None:
        """Count a value, from 0 to `MOST_MS`."""
        bucket = math.ceil(math.log(max(value_ms, LEAST_MS)) * _PER_BUCKET)
        self.sum_ms += value_ms  # first: what is no number changes nothing
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.count += 1
        if value_ms > self.most_ms:  # noqa: PLR1730  max() costs twice as much, and this runs for every operation
            self.most_ms = value_ms

    def merge(self, other: Histogram) -> None:
        """Add what another histogram counted."""
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.sum_ms += other.sum_ms
        self.most_ms = max(self.most_ms, other.most_ms)

    def copy(self) -> Histogram:
        """Return an equal histogram that does not change with this one."""
        twin = Histogram()
        twin.buckets = self.buckets.copy()
        twin.count, twin.sum_ms, twin.most_ms = self.count, self.sum_ms, self.most_ms
        return twin

    def since(self, earlier: Histogram | None) -> Histogram:
        """Return what was counted after an earlier copy of this histogram; its most is that of its highest bucket."""
        if earlier is None:
            return self.copy()
        later = Histogram()
        for bucket, count in self.buckets.items():
            if more := count - earlier.buckets.get(bucket, 0):
                later.buckets[bucket] = more
        later.count = self.count - earlier.count
        later.sum_ms = max(self.sum_ms - earlier.sum_ms, 0.0)
        later.most_ms = min(_middle(max(later.buckets)), self.most_ms) if later.buckets else 0.0
        return later

    def average(self) -> float | None:
        """Return the mean in milliseconds, exact; None where nothing was counted."""
        return self.sum_ms / self.count if self.count else None

    def percentile(self, share: float) -> float | None:
        """Return the value below which `share` (0 to 1) of the values lie, within 2 %, in ms; None where there is none."""
        return self.percentiles(share)[0]

    def percentiles(self, *shares: float) -> list[float | None]:
        """Return several percentiles, for growing shares, at the cost of one."""
        found: list[float | None] = []
        ranks, passed = [max(math.ceil(share * self.count), 1) for share in shares], 0
        for bucket, count in sorted(self.buckets.items()):
            passed += count
            while len(found) < len(ranks) and passed >= ranks[len(found)]:
                exact = ranks[len(found)] == self.count  # the last one is known
                found.append(self.most_ms if exact else min(_middle(bucket), self.most_ms))
            if len(found) == len(ranks):
                break
        return found + [None] * (len(ranks) - len(found))

    def wire(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        flat = [number for pair in sorted(self.buckets.items()) for number in pair]
        return {"n": self.count, "sum": self.sum_ms, "most": self.most_ms, "b": flat}

    @classmethod
    def of_wire(cls, data: dict[str, Any]) -> Histogram:
        """Return what `wire` was given.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        made, flat = cls(), [int(number) for number in data["b"]]
        made.buckets = dict(zip(flat[::2], flat[1::2], strict=True))
        made.count, made.sum_ms, made.most_ms = int(data["n"]), float(data["sum"]), float(data["most"])
        sound = made.count == sum(made.buckets.values()) and all(count > 0 for count in flat[1::2])
        if not (sound and all(_LEAST <= bucket <= _MOST for bucket in made.buckets)):
            raise ValueError("expected the buckets of a histogram to be in range and to add up to its count")
        if not (isfinite(made.sum_ms) and 0 <= made.most_ms <= MOST_MS):
            raise ValueError("expected the times of a histogram to be in range")
        return made


def spread(values: Histogram, *, buckets: bool = False) -> dict[str, Any]:
    """Return count, mean and percentiles (ms), None where nothing was counted; with `buckets` also what merges over processes."""
    percentiles = zip((50, 95, 99), values.percentiles(0.5, 0.95, 0.99), strict=True)
    shown = {"count": values.count, "average_ms": values.average(), **{f"p{part}_ms": ms for part, ms in percentiles}}
    return {**shown, BUCKETS: values.wire()} if buckets else shown


def _middle(bucket: int) -> float:
    return _MIDDLE * GAMMA**bucket
