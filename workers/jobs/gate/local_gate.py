"""The gate of one process alone: what serves while Redis is away, and the memory twin of the fleet's gate."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from infrastructure.core.config_core.sections import Breakers
from workers.jobs.gate.local.account import Account
from workers.jobs.gate.local.breaker import COUNTED, Switch
from workers.jobs.gate.local.limits import LONGEST_MS
from workers.jobs.gate.local.shown import adopt, shown
from workers.jobs.gate.local.target import LocalTarget
from workers.jobs.gate.models import (
    NOT_CALLED,
    Admission,
    Begin,
    Breaker,
    BreakerChange,
    Changed,
    End,
    Refusal,
    TargetState,
    Verdict,
    unheard,
)
from workers.jobs.gate.rules import Rules, jitter, rules_of

MOST_TARGETS = 1_000
PROBE_TENANT = "(probe)"


def monotonic_ms() -> float:
    """Return milliseconds on a clock that is never set."""
    return time.monotonic() * 1000


@dataclass(slots=True)
class _Open:
    """An attempt under way."""

    asked: Begin
    admission: Admission
    began: float
    silent: bool = False


class LocalGate:
    """Used on one event loop. `booked` holds what the ledger would: (tenant, provider, model, what) -> amount.

    It knows of no jobs: nobody's fence is checked.
    """

    def __init__(
        self,
        *,
        breakers: Callable[[], Breakers] = Breakers,
        clock_ms: Callable[[], float] = monotonic_ms,
        changed: Changed = unheard,
    ) -> None:
        self._breakers = breakers
        self._changed = changed
        self._clock_ms = clock_ms
        self._accounts: defaultdict[str, Account] = defaultdict(Account)
        self._targets: OrderedDict[tuple[str, str], LocalTarget] = OrderedDict()
        self._open: dict[str, _Open] = {}
        self.booked: defaultdict[tuple[str, str, str, str], float] = defaultdict(float)

    async def begin(self, asked: Begin) -> Admission:
        """Decide on a call; the same attempt again gets the same answer."""
        if (known := self._open.get(asked.attempt)) is not None:
            return known.admission
        now, rules = self._clock_ms(), self._rules()
        account, target = self._accounts[asked.provider], self._target(asked.provider, asked.model)
        target.used = now
        refusal, wait_ms = _refusal(asked, account, target, now=now, rules=rules)
        permits: list[bool] = []
        if refusal is None:
            with self._watching(asked.provider, asked.model):
                permits = [_permit(switch, asked, now) for switch in (account.switch, target.switch)]
            account.count(asked, now=now)
            target.count(asked.tokens, now=now)
        admission = Admission(
            refusal=refusal,
            state=self._state(asked.provider, asked.model, now),
            wait_ms=math.ceil(wait_ms),
            probing=any(permits),
            epochs=(account.switch.epoch, target.switch.epoch),
        )
        if refusal is None:
            self._open[asked.attempt] = _Open(asked, admission, now)
        return admission

    async def end(self, ended: End) -> TargetState:
        """Book a call's end once, and learn from it; an attempt that is not open changes nothing."""
        now, call = self._clock_ms(), self._open.get(ended.attempt)
        if call is not None and (ended.final or not call.silent):
            with self._watching(ended.provider, ended.model):
                self._end(ended, call, now)
        return self._state(ended.provider, ended.model, now)

    async def states(self) -> tuple[TargetState, ...]:
        """Return how every target stands that was called in the last hour, the last one first."""
        now = self._clock_ms()
        recent = [name for name, target in self._targets.items() if now - target.used < LONGEST_MS]
        recent.sort(key=lambda name: -self._targets[name].used)
        return tuple(self._state(*name, now) for name in recent)

    async def down(self, provider: str, reason: str) -> None:
        """Open the breaker of an account that a check found down; only a good answer closes it."""
        switch = self._accounts[provider].switch
        if switch.state is Breaker.CLOSED:
            pause = switch.next_pause_ms(self._rules(), doubles=False)
            switch.open(reason, now=self._clock_ms(), pause_ms=pause, jitter=jitter())
            self._tell(provider, None, Breaker.CLOSED, switch, reason)

    def adopt(self, state: TargetState, *, age_ms: float = 0) -> None:
        """Go on from how the fleet saw a target so long ago."""
        account, target = self._accounts[state.provider], self._target(state.provider, state.model)
        adopt(state, account, target, now=self._clock_ms() - age_ms, rules=self._rules())

    def knows(self, attempt: str) -> bool:
        """Say whether an attempt is open here."""
        return attempt in self._open

    def resume(self, asked: Begin, *, began_ms_ago: float = 0) -> None:
        """Take over a call that the fleet's gate has let through, so that its end is learnt from here."""
        if asked.attempt in self._open:
            return
        account, target = self._accounts[asked.provider], self._target(asked.provider, asked.model)
        now = self._clock_ms()
        account.in_flight, target.in_flight = account.in_flight + 1, target.in_flight + 1
        epochs = (account.switch.epoch, target.switch.epoch)
        admission = Admission(refusal=None, state=self._state(asked.provider, asked.model, now), epochs=epochs)
        self._open[asked.attempt] = _Open(asked, admission, now - began_ms_ago)

    def _end(self, ended: End, call: _Open, now: float) -> None:
        account, target = self._accounts[ended.provider], self._target(ended.provider, ended.model)
        verdict, rules = ended.verdict, self._rules()
        if ended.final and call.silent and verdict in COUNTED:
            verdict = Verdict.STOPPED  # counted when it fell silent
        account_epoch, target_epoch = call.admission.epochs
        target.learn(ended, verdict, epoch=target_epoch, began=call.began, now=now, rules=rules)
        account.learn(ended, verdict, epoch=account_epoch, now=now, throttled_until=target.throttled_until, rules=rules)
        call.silent = True
        if ended.final:
            del self._open[ended.attempt]
            account.settle(ended, call.asked, now=now)
            target.in_flight = max(0, target.in_flight - 1)  # it may have been forgotten meanwhile
            self._book(ended)

    def _book(self, ended: End) -> None:
        if ended.outcome == NOT_CALLED:
            return
        amounts = {
            "calls": 1,
            "failed": int(ended.outcome != "ok"),
            **_cost(ended),
            "prompt_tokens": ended.prompt_tokens,
            "completion_tokens": ended.completion_tokens,
        }
        tenant = PROBE_TENANT if ended.probe else ended.tenant
        for what, amount in amounts.items():
            if amount:
                self.booked[tenant, ended.provider, ended.model, what] += amount

    def _target(self, provider: str, model: str) -> LocalTarget:
        name = provider, model
        target = self._targets.get(name)
        if target is None:
            target = self._targets[name] = LocalTarget()
            if len(self._targets) > MOST_TARGETS:
                self._targets.popitem(last=False)
        self._targets.move_to_end(name)
        return target

    @contextmanager
    def _watching(self, provider: str, model: str) -> Iterator[None]:
        """Tell what happens to the breakers of a target and its account meanwhile."""
        switches = (self._target(provider, model).switch, model), (self._accounts[provider].switch, None)
        before = [(switch.state, switch.reason) for switch, _ in switches]
        yield
        for (switch, whose), (state, reason) in zip(switches, before, strict=True):
            self._tell(provider, whose, state, switch, switch.reason or reason)

    def _tell(self, provider: str, model: str | None, before: Breaker, switch: Switch, reason: str) -> None:
        if switch.state is not before:
            self._changed(
                BreakerChange(provider=provider, model=model, before=before, state=switch.state, reason=reason)
            )

    def _rules(self) -> Rules:
        return rules_of(self._breakers())

    def _state(self, provider: str, model: str, now: float) -> TargetState:
        account, target = self._accounts[provider], self._target(provider, model)
        return shown(provider, model, account, target, now=now, rules=self._rules())


def _refusal(
    asked: Begin, account: Account, target: LocalTarget, *, now: float, rules: Rules
) -> tuple[Refusal | None, float]:
    """Return why a call may not be made now, and for how long (ms); None when it may."""
    switches = (account.switch, target.switch)
    shut_ms = max(switch.wait_ms(now, rules) for switch in switches)
    if shut_ms > 0:
        return Refusal.OPEN, shut_ms
    if target.throttled_until > now:
        return Refusal.THROTTLED, target.throttled_until - now
    probing = any(switch.state is not Breaker.CLOSED for switch in switches)
    if target.full(probing=probing) or account.full(asked):
        return Refusal.FULL, target.turn_ms()
    wait_ms = max(account.rate_wait_ms(asked, now=now), target.lacking_ms(asked.tokens, now=now))
    return (Refusal.RATE, wait_ms) if wait_ms > 0 else (None, 0)


def _cost(ended: End) -> dict[str, float]:
    """Return a call's cost as the ledger has it."""
    if ended.cost_usd is not None:
        return {"cost_usd": ended.cost_usd}
    if ended.outcome == "ok" or ended.prompt_tokens is not None:
        return {"unpriced": 1}
    bound = {"maybe_unbounded": 1.0} if ended.upper_usd is None else {"maybe_upper_usd": ended.upper_usd}
    return {"maybe_billed": 1, **bound}


def _permit(switch: Switch, asked: Begin, now: float) -> bool:
    """Let a call try where the breaker is not closed; the caller has seen that it may."""
    if switch.state is Breaker.CLOSED:
        return False
    switch.grant(asked.attempt, now=now, timeout_ms=asked.timeout_ms)
    return True
