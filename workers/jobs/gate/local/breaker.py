"""One circuit breaker in memory; `scripts/include/breaker.lua` is its twin."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from workers.jobs.gate.models import Breaker, Verdict
from workers.jobs.gate.rules import Rules

PERMIT_GRACE_MS = 5_000
COUNTED = frozenset({Verdict.FAILED, Verdict.BAD})


@dataclass(slots=True)
class Switch:
    """The breaker of an account or of a target. Instants in ms on the gate's clock."""

    state: Breaker = Breaker.CLOSED
    epoch: int = 0
    reason: str = ""
    opened: float | None = None
    pause_ms: float = 0
    next: float = 0
    permit: str | None = None
    permit_until: float = 0

    def wait_ms(self, now: float, rules: Rules) -> float:
        """Return how long until one call may try; 0 when closed, or when one may try now."""
        if self.state is Breaker.CLOSED:
            return 0
        half = self.state is Breaker.HALF_OPEN
        wait = (self.permit_until if half else self.next) - now
        return max(0.0, min(wait, rules.probe_ms) if half else wait)

    def grant(self, attempt: str, *, now: float, timeout_ms: float) -> None:
        """Let one call try."""
        self.state, self.epoch = Breaker.HALF_OPEN, self.epoch + 1
        self.permit, self.permit_until = attempt, now + timeout_ms + PERMIT_GRACE_MS

    def open(self, reason: str, *, now: float, pause_ms: float, jitter: float) -> None:
        """Let nobody through for a pause."""
        if self.state is Breaker.CLOSED:
            self.opened = now
        self.state, self.reason, self.pause_ms = Breaker.OPEN, reason, pause_ms
        self.next, self.permit = now + pause_ms * jitter, None

    def next_pause_ms(self, rules: Rules, *, doubles: bool) -> float:
        """Return the pause before the next try."""
        pause = self.pause_ms * (2 if doubles else 1)
        return max(rules.probe_ms, min(pause, rules.max_pause_ms))

    def hand_back(self, at: float) -> None:
        """Take note that the one that tried brought no answer to the question."""
        self.state, self.next, self.permit = Breaker.OPEN, at, None

    def close(self) -> None:
        """Let everybody through."""
        self.state, self.reason, self.opened = Breaker.CLOSED, "", None
        self.pause_ms, self.next, self.permit = 0, 0, None

    def holds(self, attempt: str) -> bool:
        """Say whether this call is the one that tries."""
        return self.state is Breaker.HALF_OPEN and self.permit == attempt

    def tried(  # what the end of the one call that tried leads to
        self,
        verdict: Verdict,
        outcome: str,
        *,
        worst: Verdict,
        now: float,
        throttled_until: float,
        rules: Rules,
        jitter: Callable[[], float],
    ) -> None:
        """Learn from the end of the one call that tried; `worst` is the verdict that opens this breaker at once."""
        if verdict is Verdict.GOOD:
            self.close()
        elif verdict is worst or verdict in COUNTED:
            pause = self.next_pause_ms(rules, doubles=verdict is worst)
            self.open(outcome, now=now, pause_ms=pause, jitter=jitter())
        else:
            self.hand_back(max(now, throttled_until) if verdict is Verdict.THROTTLED else now)


class Window:
    """Calls and failures of the last `window_ms` in ten slots; `scripts/include/window.lua` is its twin."""

    SLOTS = 10

    def __init__(self) -> None:
        self._slots: dict[int, tuple[int, int]] = {}

    def add(self, *, failed: bool, now: float, rules: Rules) -> tuple[int, int]:
        """Note a call; return calls and failures of the window."""
        current = math.floor(now * self.SLOTS / rules.window_ms)
        calls, failures = self._slots.get(current, (0, 0))
        self._slots[current] = calls + 1, failures + failed
        return self.counted(now=now, rules=rules)

    def counted(self, *, now: float, rules: Rules) -> tuple[int, int]:
        """Return calls and failures of the window."""
        current = math.floor(now * self.SLOTS / rules.window_ms)
        self._slots = {slot: both for slot, both in self._slots.items() if current - self.SLOTS < slot <= current}
        return sum(calls for calls, _ in self._slots.values()), sum(failures for _, failures in self._slots.values())

    def clear(self) -> None:
        """Forget all."""
        self._slots.clear()
