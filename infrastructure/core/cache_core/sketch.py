"""How often a key was asked for lately: an ageing count-min sketch."""

from __future__ import annotations

from collections.abc import Hashable

TOP = 15
"""Counters stop here: more would tell nothing that a decision needs."""
COUNTERS_PER_ENTRY = 8
SAMPLE = 10
_HALVED = bytes(value >> 1 for value in range(256))


class FrequencySketch:
    """Estimates of frequency in a fixed number of bytes.

    Four counters a key, of which only the smallest grow (conservative update). After `SAMPLE` times as many counted
    requests as the cache has places, every counter is halved, so that what was popular once can be forgotten (Einziger,
    Friedman, Manes: TinyLFU, ACM ToS 2017).
    """

    __slots__ = ("_counters", "_mask", "_sample", "_seen")

    def __init__(self, places: int) -> None:
        self._mask = (1 << max(6, (max(1, places) * COUNTERS_PER_ENTRY - 1).bit_length())) - 1
        self._counters = bytearray(self._mask + 1)
        self._sample = SAMPLE * max(1, places)
        self._seen = 0

    @property
    def bytes(self) -> int:
        """Return what the counters take."""
        return len(self._counters)

    def count(self, key: Hashable) -> None:
        """Note one request for a key."""
        counters, mask = self._counters, self._mask
        place = hash(key)
        step = (place >> 32) | 1  # odd, so that the four places differ
        a, b, c, d = place & mask, (place + step) & mask, (place + 2 * step) & mask, (place + 3 * step) & mask
        least = min(counters[a], counters[b], counters[c], counters[d])
        if least < TOP:
            for spot in (a, b, c, d):
                if counters[spot] == least:
                    counters[spot] = least + 1
        self._seen += 1
        if self._seen >= self._sample:
            self._age()

    def estimate(self, key: Hashable) -> int:
        """Return about how often a key was asked for lately, 0 to 15; never too few."""
        counters, mask = self._counters, self._mask
        place = hash(key)
        step = (place >> 32) | 1
        return min(
            counters[place & mask],
            counters[(place + step) & mask],
            counters[(place + 2 * step) & mask],
            counters[(place + 3 * step) & mask],
        )

    def _age(self) -> None:
        self._counters[:] = self._counters.translate(_HALVED)
        self._seen //= 2
