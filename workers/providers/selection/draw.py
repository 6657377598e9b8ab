"""The draw: of two candidates drawn at random the better one, now and then any, the rest behind by score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
PAIR = 2


def first(scores: Sequence[float], *, exploration: float, random: Callable[[], float]) -> tuple[int, bool]:
    """Return the place of the one to ask first, and whether it was drawn without regard to its score.

    Lower scores are better. Two choices keep the best from being everybody's first at once, where its figures are a second
    old (Mitzenmacher, "The power of two choices in randomized load balancing", 2001). `random` gives 0 <= x < 1.
    """
    count = len(scores)
    if count < PAIR:
        return 0, False
    if random() < exploration:
        return int(random() * count), True
    one = int(random() * count)
    other = (one + 1 + int(random() * (count - 1))) % count
    return (one if scores[one] <= scores[other] else other), False


def shares(scores: Sequence[float], *, exploration: float) -> list[float]:
    """Return how often each is asked first."""
    count = len(scores)
    if count < PAIR:
        return [1.0] * count
    pairs = count * (count - 1) / 2
    return [
        exploration / count
        + (1 - exploration)
        * (sum(other > mine for other in scores) + (sum(other == mine for other in scores) - 1) / 2)
        / pairs
        for mine in scores
    ]
