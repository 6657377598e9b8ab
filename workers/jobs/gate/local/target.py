"""What is known of one provider's model in memory; twin of `scripts/include/learn.lua`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from workers.jobs.gate.local.breaker import COUNTED, Switch, Window
from workers.jobs.gate.local.limits import LONGEST_MS, Learnt
from workers.jobs.gate.models import Breaker, End, Verdict
from workers.jobs.gate.rules import Rules, jitter

WEIGHT = 0.1
SHARE_MS = 60_000
LATENCY_MS = 10_000
USUAL_MS, FORGIVEN_MS = 1_000, 300_000
FIRST_THROTTLE_MS, LAST_THROTTLE_MS = 1_000, 60_000
CUT_EACH_MS = 1_000
THROTTLE_CUT = 0.5
CUTS = {"provider_timeout": 0.7}


@dataclass(slots=True)
class Share:
    """A smoothed share, drawn back to `rest` as time goes by without news."""

    rest: float
    value: float | None = None
    at: float = 0

    def now(self, now: float) -> float:
        """Return the share as of now."""
        if self.value is None:
            return self.rest
        return self.rest + (self.value - self.rest) * math.exp(-max(0.0, now - self.at) / SHARE_MS)

    def note(self, value: float, *, now: float) -> None:
        """Take note of one more call."""
        before = self.now(now)
        self.value, self.at = before + WEIGHT * (value - before), now


@dataclass(slots=True)
class LocalTarget:
    """A provider's model."""

    switch: Switch = field(default_factory=Switch)
    window: Window = field(default_factory=Window)
    row: int = 0
    success: Share = field(default_factory=lambda: Share(1))
    throttle: Share = field(default_factory=lambda: Share(0))
    latency_ms: float | None = None
    latency_at: float = 0
    heard: float | None = None
    error: str | None = None
    error_at: float | None = None
    throttled_until: float = 0
    throttled_at: float | None = None
    throttle_row: int = 0
    limit: float | None = None
    limited_at: float | None = None
    most: int = 0
    in_flight: int = 0
    used: float = 0
    requests: Learnt = field(default_factory=Learnt)
    tokens: Learnt = field(default_factory=Learnt)

    def latency_now(self, now: float) -> float | None:
        """Return the latency; a slow one is forgiven with time: nobody asks the slowest, and so sees that it has mended."""
        if self.latency_ms is None or self.latency_ms <= USUAL_MS:
            return self.latency_ms
        keep = math.exp(-max(0.0, now - self.latency_at) / FORGIVEN_MS)
        return USUAL_MS + (self.latency_ms - USUAL_MS) * keep

    def full(self, *, probing: bool) -> bool:
        """Say whether as many calls are in flight as the learnt limit allows; the one that tries passes it."""
        return self.limit is not None and not probing and self.in_flight >= math.floor(self.limit)

    def lacking_ms(self, tokens: int, *, now: float) -> float:
        """Return how long until the limits that answers told of let a call through."""
        return max(self.requests.lacking_ms(1, now=now), self.tokens.lacking_ms(tokens, now=now))

    def turn_ms(self) -> float:
        """Return how long a call waits until one in flight has ended, as far as that can be guessed; 0 when it cannot."""
        if self.latency_ms is None or not self.in_flight:
            return 0
        return max(10, min(1_000, self.latency_ms / self.in_flight))

    def count(self, tokens: int, *, now: float) -> None:
        """Count a call that was let through."""
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        self.requests.draw(1, now=now)
        self.tokens.draw(tokens, now=now)

    def learn(self, ended: End, verdict: Verdict, *, epoch: int, began: float, now: float, rules: Rules) -> None:
        """Learn from a call's end; `epoch` is the one that it was let through in, `began` when."""
        if verdict is Verdict.THROTTLED:
            self._slow_down(ended.retry_after_ms, began=began, now=now)
        if (rates := ended.rates) is not None:
            self.requests.told(rates.requests_limit, rates.requests_left, rates.requests_reset_ms, now=now)
            self.tokens.told(rates.tokens_limit, rates.tokens_left, rates.tokens_reset_ms, now=now)
        if epoch != self.switch.epoch:
            return
        if verdict not in {Verdict.GOOD, Verdict.ALIVE, Verdict.STOPPED}:
            self.error, self.error_at = ended.outcome, now
        if self.switch.state is Breaker.CLOSED:
            self._learn_closed(ended, verdict, began=began, now=now, rules=rules)
        elif self.switch.holds(ended.attempt):
            self.switch.tried(
                verdict, ended.outcome, worst=Verdict.MODEL, now=now, throttled_until=self.throttled_until, rules=rules,
                jitter=jitter,
            )  # fmt: skip
            if verdict is Verdict.GOOD:
                self._begin_anew(ended, now=now, rules=rules)

    def _learn_closed(self, ended: End, verdict: Verdict, *, began: float, now: float, rules: Rules) -> None:
        if verdict is Verdict.GOOD:
            self.window.add(failed=False, now=now, rules=rules)
            self._answered_well(ended, now=now)
        elif verdict in COUNTED:
            if ended.outcome in CUTS:
                self._cut(CUTS[ended.outcome], began=began, now=now)
            self._failed(ended, now=now, rules=rules)
        elif verdict is Verdict.THROTTLED:
            self.throttle.note(1, now=now)
        elif verdict is Verdict.MODEL:
            self._open(ended.outcome, now=now, rules=rules)

    def _answered_well(self, ended: End, *, now: float) -> None:
        self.row, self.throttle_row, self.heard = 0, 0, now
        self.success.note(1, now=now)
        self.throttle.note(0, now=now)
        self._note_latency(ended.latency_ms, now=now)
        if self.limit is not None:
            self.limit += 1 / self.limit
            if self.limit > 2 * max(1, self.most):
                self.limit = None

    def _note_latency(self, ms: float, *, now: float) -> None:
        """Peak-EWMA: up at once, down with the time between answers (Finagle's load metric)."""
        if self.latency_ms is not None and ms < self.latency_ms:
            keep = math.exp(-max(0.0, now - self.latency_at) / LATENCY_MS)
            ms = self.latency_ms * keep + ms * (1 - keep)
        self.latency_ms, self.latency_at = ms, now

    def _failed(self, ended: End, *, now: float, rules: Rules) -> None:
        self.row += 1
        self.success.note(0, now=now)
        calls, failures = self.window.add(failed=True, now=now, rules=rules)
        if self.row >= rules.failures or (calls >= rules.min_calls and failures >= rules.ratio * calls):
            self._open(ended.outcome, now=now, rules=rules)

    def _open(self, reason: str, *, now: float, rules: Rules) -> None:
        pause = self.switch.next_pause_ms(rules, doubles=False)
        self.switch.open(reason, now=now, pause_ms=pause, jitter=jitter())
        self.row = 0
        self.window.clear()

    def _begin_anew(self, ended: End, *, now: float, rules: Rules) -> None:
        """Forget what the outage taught."""
        self.success, self.throttle = Share(1), Share(0)
        self.window.clear()
        if self.limit is not None:
            self.limit = max(self.limit, self.most / 2)
        self.window.add(failed=False, now=now, rules=rules)
        self._answered_well(ended, now=now)

    def _slow_down(self, retry_after_ms: int | None, *, began: float, now: float) -> None:
        wait: float = retry_after_ms or 0
        if wait <= 0:
            if self.throttled_at is not None and began <= self.throttled_at:
                return  # of the wave that was told already
            wait = min(LAST_THROTTLE_MS, FIRST_THROTTLE_MS * 2**self.throttle_row)
            self.throttle_row = min(10, self.throttle_row + 1)
        self.throttled_until = max(self.throttled_until, now + min(wait, LONGEST_MS))
        self.throttled_at = now
        self._cut(THROTTLE_CUT, began=began, now=now)

    def _cut(self, factor: float, *, began: float, now: float) -> None:
        """Lower the limit, once for a wave: calls begun before the last cut say nothing new."""
        if self.limited_at is not None and (began < self.limited_at or now - self.limited_at < CUT_EACH_MS):
            return
        self.limit = max(1.0, min(math.inf if self.limit is None else self.limit, factor * self.in_flight))
        self.limited_at = now
