"""Limits in memory: those that the configuration sets, and those that answers tell of; twin of `scripts/include/limits.lua`."""

from __future__ import annotations

from dataclasses import dataclass, field

LONGEST_MS = 3_600_000
BURST = 20
"""So many requests may come at once, where that is a minute's worth; of more a twentieth."""
MINUTE_MS = 60_000
Pace = tuple[float, float]
"""Step and tolerance in ms."""


def of_requests(per_minute: int) -> Pace:
    """Return the pace under which no window of a minute sees more requests than the limit."""
    burst = max(1, per_minute // BURST)
    step = 60_000 / (per_minute - burst + 1)
    return step, (burst - 1) * step


def of_tokens(per_minute: int) -> Pace:
    """Return the pace for tokens: a call that takes more than a burst goes through, and the next ones wait for it."""
    burst = max(1, per_minute // BURST)
    step = 60_000 / max(1, per_minute - burst)
    return step, burst * step


@dataclass(slots=True)
class Allowance:
    """One limit of an account: a theoretical arrival time (GCRA)."""

    tat: float | None = None

    def due_in_ms(self, tolerance_ms: float, *, now: float) -> float:
        """Return how long until the next call is within the limit."""
        return max(0.0, self._arrival(now) - now - tolerance_ms)

    def take(self, cost_ms: float, *, now: float) -> None:
        """Count a call; nobody waits longer than LONGEST_MS for it."""
        self.tat = min(self._arrival(now) + cost_ms, now + LONGEST_MS)

    def correct(self, cost_ms: float, *, now: float) -> None:
        """Give back what an estimate was too high by (or take more, below 0)."""
        if self.tat is not None:
            self.tat = min(self.tat - cost_ms, now + LONGEST_MS)

    def _arrival(self, now: float) -> float:
        return self.tat if self.tat is not None and now <= self.tat <= now + LONGEST_MS else now


@dataclass(slots=True)
class Requests:
    """The limit of requests: of few a log of the last minute, so that all may come at once; of more a pace."""

    pace: Allowance = field(default_factory=Allowance)
    log: list[float] = field(default_factory=list)

    def due_in_ms(self, per_minute: int, *, now: float) -> float:
        """Return how long until one more is within the limit."""
        if per_minute > BURST:
            return self.pace.due_in_ms(of_requests(per_minute)[1], now=now)
        last = self._last_minute(now)
        return 0 if len(last) < per_minute else last[-per_minute] + MINUTE_MS - now

    def take(self, per_minute: int, *, now: float) -> None:
        """Count one."""
        if per_minute > BURST:
            self.pace.take(of_requests(per_minute)[0], now=now)
        else:
            self.log = [*self._last_minute(now), now]

    def give_back(self, per_minute: int, *, now: float) -> None:
        """Count one out that was not made."""
        if per_minute > BURST:
            self.pace.correct(of_requests(per_minute)[0], now=now)
        else:
            self.log = self._last_minute(now)[:-1]

    def _last_minute(self, now: float) -> list[float]:
        return [at for at in self.log if 0 <= now - at < MINUTE_MS]


@dataclass(slots=True)
class Learnt:
    """What an answer said is left of a limit, growing back to the whole until the time it named."""

    limit: int | None = None
    _left: float = 0
    _at: float = 0
    _refill: float = 0
    _until: float = 0

    def told(self, limit: int | None, left: int | None, reset_ms: float | None, *, now: float) -> None:
        """Take note of an answer's headers."""
        if not limit or limit <= 0 or left is None:
            return
        reset_ms = max(1_000.0, min(60_000.0 if reset_ms is None else reset_ms, LONGEST_MS))
        self.limit, self._left, self._at, self._until = limit, min(left, limit), now, now + reset_ms
        self._refill = (limit - left if left < limit else limit) / reset_ms

    def lacking_ms(self, need: int, *, now: float) -> float:
        """Return how long until there is room for a call that needs so much."""
        left = self._there(now)
        if left is None or self.limit is None or left >= (wanted := min(need, self.limit)):
            return 0
        return max(1, min(self._until - now, (wanted - left) / self._refill))

    def draw(self, need: int, *, now: float) -> None:
        """Count a call."""
        left = self._there(now)
        if left is not None:
            self._left, self._at = left - need, now

    def _there(self, now: float) -> float | None:
        if self.limit is None or not self._at <= now < self._until:
            return None
        return min(self.limit, self._left + (now - self._at) * self._refill)
