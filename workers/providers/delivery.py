"""One delivery of a job: candidates in order, one call at a time, until one answers or none may be called for now."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

from infrastructure.core.performance_core import PerformanceTracker
from workers.jobs.gate.models import Admission, Breaker, Refusal, TargetState
from workers.jobs.models import Attempt, Slot
from workers.providers.attempts import Attempts
from workers.providers.booking import unanswered
from workers.providers.budget import RetryBudget
from workers.providers.calls import (
    DEADLINE_EXCEEDED,
    NO_CANDIDATE_AVAILABLE,
    Answer,
    CallerFault,
    CompletionFailed,
    PutBack,
    Target,
    answered_cost,
)
from workers.providers.classify import Failure, Kind
from workers.providers.failover import DEFAULT_PAUSE_S, LONGEST_PAUSE_S, Step, Way
from workers.providers.redact import provider_text, redact
from workers.providers.selection.selector import Choice
from workers.providers.telling import Telling
from workers.providers.waits import Why
from workers.providers.work import Opened, Tried, Work

JITTER = 0.2
PATIENCE_SHARE = 0.1
"""Of a job's age: how long it is put back at least."""
FULL_PAUSE_S = 0.1
"""Until one more call may fit where nothing tells."""
SLOT_PAUSE_S = 5.0
"""Of a job that waits for a slot: whoever ends a call lets it in, so that this is only for slots that got lost."""
BUDGET_PAUSE_S = 1.5
NOT_FOR_US = frozenset({Kind.PERMISSION, Kind.MODEL_UNAVAILABLE})
LATE = frozenset({Kind.TIMEOUT, Kind.RATE_LIMITED, Kind.UNAVAILABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What deliveries share in a process."""

    attempts: Attempts
    budget: RetryBudget
    telling: Telling
    tracker: PerformanceTracker


class Tally:
    """What one delivery has tried so far; whoever began it can tell that, also when he goes before it ends."""

    def __init__(self) -> None:
        self.ended: list[Attempt] = []
        self._under_way: tuple[Opened, float] | None = None

    def began(self, opened: Opened) -> None:
        """Hear of a call that begins."""
        self._under_way = opened, time.monotonic()

    def add(self, attempt: Attempt) -> None:
        """Hear of its end."""
        self._under_way = None
        self.ended.append(attempt)

    def attempts(self) -> tuple[Attempt, ...]:
        """Return all attempts; one under way counts as not answered in time."""
        if self._under_way is None:
            return tuple(self.ended)
        opened, since = self._under_way
        return (*self.ended, unanswered(opened, since=since))


class Delivery:
    """Makes the calls of one delivery. Used once."""

    def __init__(self, work: Work, order: list[Choice], tools: Tools, tally: Tally) -> None:
        self._work = work
        self._tally = tally
        self._tools = tools
        self._way = Way(
            order,
            earlier=work.call.earlier,
            next_on_policy=work.settings.selection.refused_content == "next",
        )
        self._tried = tally.ended
        self._why = Why()
        self._failure: Failure | None = None
        self._barred: tuple[Choice, Kind] | None = None
        """A candidate that was not asked, since it has just said that this model is not for us."""
        self._slots: list[Slot] = []
        """What a call has to end for, where candidates had as many in flight as they may."""
        self._began_at = 0.0
        self._taken, self._taken_of = 0, ""
        """Retry tokens that the attempt under way took, and from which provider's budget."""

    async def answer(self) -> Answer:
        """Return the first good answer.

        Raises:
            CompletionFailed: there is none, and waiting will not help.
            PutBack: nobody may be called for now.
            JobGone: the job is not ours any more.
        """
        step = self._way.next(time.monotonic())
        while step is not None and self._work.remaining_s > step.pause_s:
            if step.pause_s:
                await asyncio.sleep(step.pause_s)
            if not self._may_call(step.choice):
                self._why.budget(step.choice.target)
                raise self._put_back(BUDGET_PAUSE_S) or self._failed()
            try:
                opened = await self._tools.attempts.open(self._work, step.choice)
            except BaseException:  # the job is gone, or whoever wanted it: nothing was called
                self._give_back_unused()
                raise
            if isinstance(opened, Opened):
                tried = await self._call(opened)
                if tried.failure is None:
                    return self._succeeded(step.choice, tried)
                step = self._next_after(step.choice, tried, tried.failure)
            else:
                self._refused(step.choice, opened)
                step = self._way.next(time.monotonic())
        raise self._given_up(step)

    async def _call(self, opened: Opened) -> Tried:
        target, tools, now = opened.choice.target, self._tools, time.monotonic()
        if self._tried and self._tried[-1].provider != target.name:
            took_ms = 1_000 * (now - self._began_at)
            tools.telling.failover(
                self._work.call, self._tried[-1], target.name, took_ms=took_ms, tracker=tools.tracker
            )
        self._began_at = now
        self._tally.began(opened)
        tried = await tools.attempts.make(self._work, opened)
        self._tally.add(tried.attempt)
        tools.telling.attempt(opened.choice, tried, tracker=tools.tracker)
        return tried

    def _may_call(self, choice: Choice) -> bool:
        """Say whether the retry budget has a call left for this candidate; a first call needs none."""
        self._give_back_unused()
        if self._failure is None:
            return True
        throttled = self._failure.kind is Kind.RATE_LIMITED
        taken = self._tools.budget.take(choice.target.name, throttled=throttled)
        self._taken, self._taken_of = taken or 0, choice.target.name
        return taken is not None

    def _give_back_unused(self) -> None:
        """Give back what was taken for a call that the gate did not let through."""
        if self._taken:
            self._tools.budget.give_back(self._taken_of, self._taken)
            self._taken = 0

    def _succeeded(self, choice: Choice, tried: Tried) -> Answer:
        assert tried.result is not None  # noqa: S101  what is no failure is a result
        self._tools.budget.succeeded(choice.target.name, taken=self._taken)
        usage, tries = tried.result["usage"], tuple(self._tried)
        self._tools.telling.success(self._work.call, tried.attempt, usage)
        return Answer(
            result=tried.result,
            usage=usage,
            cost_usd=answered_cost(tries),
            attempts=tries,
            provider=choice.target.name,
            model=choice.target.model,
            latency_ms=tried.attempt.latency_ms,
        )

    def _next_after(self, choice: Choice, tried: Tried, failure: Failure) -> Step | None:
        self._failure, self._taken, now = failure, 0, time.monotonic()
        self._why.failed(choice.target, tried.attempt)
        probe_ms = tried.state.next_probe_ms
        self._way.failed(
            choice, failure, now=now, probing=tried.probing, next_probe_s=None if probe_ms is None else probe_ms / 1_000
        )
        step = self._way.next(now)
        self._tools.telling.failure(
            self._work.call, tried.attempt, failure, retries=len(self._tried) - 1, will_failover=step is not None
        )
        return step

    def _refused(self, choice: Choice, admission: Admission) -> None:
        self._why.refused(choice.target, admission)
        state = admission.state
        if state.breaker is not Breaker.CLOSED and state.reason in NOT_FOR_US:
            self._barred = choice, Kind(state.reason)  # waiting would only have it say the same again
            return
        if admission.refusal is Refusal.FULL and self._work.call.job is not None:
            self._slots.append(slot_of(choice.target, state))
            self._way.refused(choice, at=time.monotonic() + SLOT_PAUSE_S)  # put aside: there the highest class is first
            return
        usual_s = FULL_PAUSE_S if admission.refusal is Refusal.FULL else DEFAULT_PAUSE_S
        wait_s = admission.wait_ms / 1_000 if admission.wait_ms else usual_s
        self._way.refused(choice, at=time.monotonic() + wait_s)

    def _given_up(self, step: Step | None) -> Exception:
        """Return what ends the delivery: out of time, or nobody is left to ask for now, or for good."""
        self._give_back_unused()
        if self._work.remaining_s <= 0 or (step is not None and step.pause_s <= 0):
            return self._failed()
        wait_s = self._way.put_back_s(time.monotonic())
        return (None if wait_s is None else self._put_back(wait_s)) or self._failed(wait_s)

    def _put_back(self, wait_s: float) -> PutBack | None:
        """Return the put-back, None where it would end behind the deadline.

        Who has waited for long waits longer: else a long line in front of a narrow provider would do nothing but be claimed.
        """
        patient_s = min(max(wait_s, PATIENCE_SHARE * self._work.call.age_s), max(wait_s, LONGEST_PAUSE_S))
        wait_s = patient_s if patient_s * (1 + JITTER) < self._work.remaining_s else wait_s
        if self._slots:
            wait_s = min(wait_s, self._work.remaining_s / 2)
        wait_s *= 1 + JITTER * random.random()  # noqa: S311  no secret: keeps jobs from coming back all at once
        if wait_s >= self._work.remaining_s:
            return None
        return PutBack(
            self._why.text(),
            wait_ms=round(1_000 * wait_s),
            attempts=tuple(self._tried),
            slots=tuple(self._slots),
        )

    def _failed(self, wait_s: float | None = None) -> CompletionFailed:
        failure, attempts = self._failure, tuple(self._tried)
        if failure is None:
            return _unasked(self._work, wait_s, self._barred, self._why)
        kind = failure.kind
        late = kind in LATE and self._work.remaining_s <= 0
        said = provider_text(failure.text) or ("no answer in time" if kind is Kind.TIMEOUT else "no answer")
        keys = [one.api_key.get_secret_value() for one in self._work.settings.providers.values() if one.api_key]
        failed = CallerFault if kind.callers else CompletionFailed
        return failed(
            f"{attempts[-1].provider}/{attempts[-1].model}: {redact(said, secrets=keys)}",
            job_code=DEADLINE_EXCEEDED if late else kind.value,
            attempts=attempts,
            retry_after_s=failure.retry_after_s,
        )


def slot_of(target: Target, state: TargetState) -> Slot:
    """Return the slot that a full candidate lacks: the model's, where its learnt limit is reached, else its account's."""
    learnt, most = state.concurrency_limit, target.provider.limits.concurrency
    if most is None or (learnt is not None and state.in_flight >= int(learnt)):
        return Slot(provider=target.name, model=target.model, most=max(1, int(learnt or 1)))
    return Slot(provider=target.name, model=None, most=most)


def _unasked(work: Work, wait_s: float | None, barred: tuple[Choice, Kind] | None, why: Why) -> CompletionFailed:
    """Return the failure of a job for which nobody could be asked in this delivery."""
    if work.remaining_s <= 0:
        return CompletionFailed("the deadline passed before a provider could be asked", job_code=DEADLINE_EXCEEDED)
    if barred is not None and wait_s is None:
        target = barred[0].target
        text = f"{target.name}/{target.model}: the provider has just refused this model, and was not asked again"
        return CompletionFailed(text, job_code=barred[1].value)
    wait_s = min(LONGEST_PAUSE_S if wait_s is None else wait_s, 86_400)
    text = (
        f"no provider of this model may be called before the job's deadline: {why.text()}; the first in {wait_s:.1f} s"
    )
    return CompletionFailed(text, job_code=NO_CANDIDATE_AVAILABLE, retry_after_s=wait_s)
