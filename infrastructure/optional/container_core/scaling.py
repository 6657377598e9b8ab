"""How many workers of a kind there should be: a pure decision from queue depth and age, with hysteresis and cool-down."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

GROWTH = 2  # at most twice as many at a time: what was just started has not shown yet what it does
ROOM = 2.0  # fewer are enough only when they were enough for twice the queue: between the two nothing changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What an operator has set for a kind of worker; times in seconds.

    `depth` is how many waiting jobs one worker is trusted with, `target_age_s` how long the oldest may wait. A change
    follows only after the figures have asked for it without a break for `grow_after_s` or `shrink_after_s`, and
    `cooldown_s` after the last change.
    """

    minimum: int
    maximum: int
    target_age_s: float
    depth: int
    grow_after_s: float
    shrink_after_s: float
    cooldown_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a queue shows: jobs that wait, the age of the oldest, and jobs that run; `slots` are a worker's places."""

    ready: int
    oldest_age_s: float = 0.0
    running: int = 0
    slots: int = 1


def recommended(current: int, figures: Figures, bounds: Bounds) -> int:
    """Return how many workers the figures ask for, within the bounds: what an outside scaler may set at once."""
    more = _demand(max(current, 1), figures, bounds)
    if more > current:
        return _within(bounds, more)
    less = _demand(max(current, 1), _louder(figures), bounds)
    return _within(bounds, min(current, less))


@dataclass(slots=True)
class Scaler:
    """Turns figures into steps, one look after the other; it knows no clock and is told the time.

    `started_s` is when the first workers were started: they too have a cool-down to show what they do.
    """

    bounds: Bounds
    started_s: float = -math.inf
    _since: float | None = field(default=None, init=False)
    _direction: int = field(default=0, init=False)
    _changed_at: float = field(default=-math.inf, init=False)

    def __post_init__(self) -> None:
        """Count the first start as a change."""
        self._changed_at = self.started_s

    def decide(self, current: int, figures: Figures, *, now_s: float) -> int:
        """Return how many workers there should be from now on: `current`, more (at most twice as many), or one less."""
        if not self.bounds.minimum <= current <= self.bounds.maximum:
            return _within(self.bounds, current)
        wanted = recommended(current, figures, self.bounds)
        direction = (wanted > current) - (wanted < current)
        if direction != self._direction or direction == 0:
            self._direction, self._since = direction, now_s
        if direction == 0 or not self._due(direction, now_s):
            return current
        self._direction, self._changed_at = 0, now_s
        return min(wanted, current * GROWTH) if direction > 0 else current - 1

    def _due(self, direction: int, now_s: float) -> bool:
        asked_s = self.bounds.grow_after_s if direction > 0 else self.bounds.shrink_after_s
        since = now_s if self._since is None else self._since
        return now_s - since >= asked_s and now_s - self._changed_at >= self.bounds.cooldown_s


def _demand(current: int, figures: Figures, bounds: Bounds) -> int:
    """Return how many workers the queue's depth, its age and what runs ask for; the largest of the three."""
    by_depth = math.ceil(figures.ready / bounds.depth)
    by_age = math.ceil(current * figures.oldest_age_s / bounds.target_age_s) if figures.ready else 0
    by_running = math.ceil(figures.running / figures.slots)
    return max(by_depth, by_age, by_running)


def _louder(figures: Figures) -> Figures:
    return Figures(
        ready=math.ceil(figures.ready * ROOM),
        oldest_age_s=figures.oldest_age_s * ROOM,
        running=math.ceil(figures.running * ROOM),
        slots=figures.slots,
    )


def _within(bounds: Bounds, count: int) -> int:
    return max(bounds.minimum, min(count, bounds.maximum))
