"""A provider account in memory: its breaker, its calls in flight, and what is left of its configured limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from workers.jobs.gate.local.breaker import Switch
from workers.jobs.gate.local.limits import Allowance, Requests, of_tokens
from workers.jobs.gate.models import NOT_CALLED, Begin, Breaker, End, Verdict
from workers.jobs.gate.rules import Rules, jitter


@dataclass(slots=True)
class Account:
    """Instants in ms on the gate's clock."""

    switch: Switch = field(default_factory=Switch)
    in_flight: int = 0
    requests: Requests = field(default_factory=Requests)
    tokens: Allowance = field(default_factory=Allowance)

    def full(self, asked: Begin) -> bool:
        """Say whether as many calls are in flight as the configuration allows."""
        most = asked.limits.concurrency
        return most is not None and self.in_flight >= most

    def rate_wait_ms(self, asked: Begin, *, now: float) -> float:
        """Return how long until the configured rates let a call through."""
        wait, limits = 0.0, asked.limits
        if limits.requests_per_minute is not None:
            wait = self.requests.due_in_ms(limits.requests_per_minute, now=now)
        if limits.tokens_per_minute is not None:
            _, tolerance = of_tokens(limits.tokens_per_minute)
            wait = max(wait, self.tokens.due_in_ms(tolerance, now=now))
        return wait

    def count(self, asked: Begin, *, now: float) -> None:
        """Count a call that was let through."""
        self.in_flight += 1
        limits = asked.limits
        if limits.requests_per_minute is not None:
            self.requests.take(limits.requests_per_minute, now=now)
        if limits.tokens_per_minute is not None:
            self.tokens.take(of_tokens(limits.tokens_per_minute)[0] * asked.tokens, now=now)

    def settle(self, ended: End, asked: Begin, *, now: float) -> None:
        """Count a call out; what it was thought to take is put right by what it took."""
        self.in_flight -= 1
        unused, limits = ended.outcome == NOT_CALLED, asked.limits
        if limits.requests_per_minute is not None and unused:
            self.requests.give_back(limits.requests_per_minute, now=now)
        took = (ended.prompt_tokens or 0) + (ended.completion_tokens or 0)
        told = took > 0 or unused or ended.verdict is Verdict.THROTTLED
        if limits.tokens_per_minute is not None and told:
            self.tokens.correct(of_tokens(limits.tokens_per_minute)[0] * (asked.tokens - took), now=now)

    def learn(
        self, ended: End, verdict: Verdict, *, epoch: int, now: float, throttled_until: float, rules: Rules
    ) -> None:
        """Learn from a call's end; `epoch` is the one that it was let through in."""
        switch = self.switch
        if epoch != switch.epoch:
            return
        if switch.state is Breaker.CLOSED:
            if verdict is Verdict.ACCOUNT:
                pause = switch.next_pause_ms(rules, doubles=False)
                switch.open(ended.outcome, now=now, pause_ms=pause, jitter=jitter())
        elif switch.holds(ended.attempt):
            switch.tried(
                verdict, ended.outcome, worst=Verdict.ACCOUNT, now=now, throttled_until=throttled_until, rules=rules,
                jitter=jitter,
            )  # fmt: skip
