"""One attempt: the gate is asked, the provider is called once, its answer is checked, the gate is told."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from infrastructure.core.config_core import Settings
from workers.jobs.gate.models import Admission, Begin, End, Gate, Limits, Refusal, TargetState, Verdict
from workers.jobs.models import Attempt
from workers.providers import answer as answers
from workers.providers.accounts import Account
from workers.providers.calls import Call, JobGone, Target
from workers.providers.classify import Failure, Kind, classify
from workers.providers.closing import Closing
from workers.providers.estimate import Size, most_usd
from workers.providers.flights.party import Party
from workers.providers.heard import listening
from workers.providers.library import Endpoint, Library
from workers.providers.pricing import cost_usd
from workers.providers.rates import rates
from workers.providers.selection.selector import Choice
from workers.providers.selection.standings import Standings
from workers.providers.silence import Silence, Waiting

COUNTED = frozenset({Verdict.FAILED, Verdict.BAD})
SCORE_DIGITS = 9
AT_ITS_LIMIT = 0.98
"""Of a provider's own timeout: a call cut off before says nothing of the provider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one delivery works on, and with what."""

    call: Call
    settings: Settings
    party: Party
    size: Size
    library: Library
    accounts: Mapping[str, Account]
    probe: bool = False

    @property
    def remaining_s(self) -> float:
        """Return the seconds left to the most patient of those who wait."""
        return self.party.deadline() - time.monotonic()


@dataclass(frozen=True, slots=True)
class Opened:
    """A call that the gate let through; it has to be made, or ended."""

    choice: Choice
    asked: Begin
    admission: Admission
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """How an attempt ended: a result, or a failure. `state`: how the candidate stands since."""

    attempt: Attempt
    state: TargetState
    probing: bool
    result: dict[str, Any] | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """What came of the call itself."""

    headers: Mapping[str, str]
    result: dict[str, Any] | None = None
    failure: Failure | None = None
    cost_usd: float | None = None


class Attempts:
    """Makes attempts. Used on one event loop.

    Whatever the gate let through is told to it again, also when whoever wanted it is cancelled meanwhile: `closing` does so.
    """

    def __init__(self, gate: Gate, *, standings: Standings, silence: Silence, closing: Closing) -> None:
        self._gate = gate
        self._standings = standings
        self._silence = silence
        self._closing = closing

    async def open(self, work: Work, choice: Choice) -> Opened | Admission:
        """Ask the gate for a call; return what it let through, or its refusal.

        Raises:
            JobGone: the job, and that of everyone else who waits here, is not ours any more.
        """
        while True:
            timeout_s = max(0.0, min(choice.target.provider.timeout_s, work.remaining_s))
            asked = _begin(work, choice.target, timeout_s)
            admission = await self._gate.begin(asked)  # cancelled meanwhile, it takes back what it let through
            self._standings.learn(admission.state)
            if admission.admitted:
                return Opened(choice, asked, admission, timeout_s)
            if admission.refusal is not Refusal.STALE:
                return admission
            if work.party.job() in (None, asked.job):
                raise JobGone(work.call.job_id)

    async def make(self, work: Work, opened: Opened) -> Tried:
        """Call the candidate once, and tell the gate how it ended."""
        target, started = opened.choice.target, time.monotonic()
        waiting = self._silence.began(opened.asked, epochs=opened.admission.epochs)
        self._standings.began(target.key)
        try:
            heard = await _called(work, target)
        except BaseException:  # cancelled: the gate has to hear of it all the same
            self._silence.ended(waiting, answered=False)
            self._closing.begin(self._gate.end(_stopped(opened.asked, opened.admission.epochs, since=started)))
            raise
        finally:
            self._standings.ended(target.key)
        answered = heard.failure is None or heard.failure.kind is not Kind.TIMEOUT
        took_s = time.monotonic() - started
        verdict = self._verdict(heard.failure, waiting, target, took_s, probe=work.probe)
        self._silence.ended(waiting, answered=answered, good=heard.failure is None)
        attempt = _attempt(opened, heard, started)
        state = await self._closing.finish(self._gate.end(_end(opened, heard, attempt, verdict)))
        self._standings.learn(state)
        return Tried(
            attempt=attempt, state=state, probing=opened.admission.probing, result=heard.result, failure=heard.failure
        )

    def _verdict(
        self, failure: Failure | None, waiting: Waiting, target: Target, took_s: float, *, probe: bool
    ) -> Verdict:
        if failure is None:
            return Verdict.GOOD
        verdict = failure.verdict
        if verdict not in COUNTED:
            return verdict
        if waiting.silent:
            return Verdict.STOPPED  # counted when it fell silent
        if probe:
            return verdict  # a few tokens take no longer than a check may
        if failure.kind is Kind.TIMEOUT and failure.status is None:  # we cut it off
            patience_s = min(
                self._silence.patience_s(target.key) or target.provider.timeout_s, target.provider.timeout_s
            )
            return verdict if took_s >= AT_ITS_LIMIT * patience_s else Verdict.STOPPED
        return verdict


async def _called(work: Work, target: Target) -> _Heard:
    endpoint, provider = work.accounts[target.name].endpoint(target.model), target.provider
    with listening() as heard:
        try:
            async with work.party.within(provider.timeout_s):
                raw = await work.library.complete(endpoint, fresh(work.call.params), timeout_s=provider.timeout_s)
        except Exception as exc:  # noqa: BLE001  LiteLLM's exceptions have no common parent; each is a failed call
            failure = classify(exc, now=datetime.now(UTC), headers=heard.headers)
            return _Heard(headers=heard.headers, failure=failure, cost_usd=None if failure.kind.may_be_billed else 0.0)
    return _checked(work, target, endpoint, raw, heard.headers)


def _checked(work: Work, target: Target, endpoint: Endpoint, raw: Any, headers: Mapping[str, str]) -> _Heard:
    try:
        result = answers.completion(raw, model=target.model)
    except Exception:  # noqa: BLE001  a shape that nobody foresaw; it may be billed
        return _Heard(headers=headers, failure=_bad("the provider's answer has a form that is none", innocent=False))
    price, cost = target.provider.prices.get(target.model), None
    if work.settings.cost_tracking.enabled:
        cost = cost_usd(result["usage"], price=price, library=work.library, endpoint=endpoint, answer=raw)
    fault = answers.fault(result)
    if fault and not (work.probe and answers.cut_short(result)):
        failure = _bad(fault, innocent=answers.innocent(result))
        return _Heard(headers=headers, result=result, failure=failure, cost_usd=cost)
    return _Heard(headers=headers, result=result, cost_usd=cost)


def _bad(text: str, *, innocent: bool) -> Failure:
    return Failure(
        kind=Kind.BAD_ANSWER, status=200, retry_after_s=None, text=text, error_type="BadAnswer", innocent=innocent
    )


def fresh(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that LiteLLM may change: it takes the system message out of the list for some providers."""
    copy: dict[str, Any] = orjson.loads(orjson.dumps(params))
    return copy


def _begin(work: Work, target: Target, timeout_s: float) -> Begin:
    limits = target.provider.limits
    return Begin(
        attempt=secrets.token_hex(8),
        provider=target.name,
        model=target.model,
        tenant=work.call.tenant,
        timeout_ms=round(timeout_s * 1_000),
        job=work.party.job(),
        tokens=work.size.tokens,
        upper_usd=most_usd(target, work.size),
        limits=Limits(
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
            concurrency=limits.concurrency,
        ),
        probe=work.probe,
    )


def _attempt(opened: Opened, heard: _Heard, started: float) -> Attempt:
    target, failure, admission = opened.choice.target, heard.failure, opened.admission
    return Attempt(
        provider=target.name,
        model=target.model,
        outcome=failure.kind.value if failure else "ok",
        status=failure.status if failure else 200,
        latency_ms=round((time.monotonic() - started) * 1_000, 1),
        cost_usd=heard.cost_usd,
        breaker="half_open" if admission.probing else admission.state.breaker.value,
        score=round(opened.choice.score, SCORE_DIGITS),
    )


def _end(opened: Opened, heard: _Heard, attempt: Attempt, verdict: Verdict) -> End:
    asked, failure = opened.asked, heard.failure
    usage = (heard.result or {}).get("usage") or {}
    wait_s = failure.retry_after_s if failure else None
    return End(
        attempt=asked.attempt,
        provider=asked.provider,
        model=asked.model,
        tenant=asked.tenant,
        verdict=verdict,
        outcome=attempt.outcome,
        status=attempt.status,
        latency_ms=attempt.latency_ms,
        epochs=opened.admission.epochs,
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        cost_usd=heard.cost_usd,
        retry_after_ms=None if wait_s is None else round(wait_s * 1_000),
        rates=rates(heard.headers, now=datetime.now(UTC)) if heard.headers else None,
        probe=asked.probe,
    )


def unanswered(opened: Opened, *, since: float) -> Attempt:
    """Return an attempt under way as it looks to one who cannot wait for it any longer."""
    failure = Failure(kind=Kind.TIMEOUT, status=None, retry_after_s=None, text="", error_type="TimeoutError")
    return _attempt(opened, _Heard(headers={}, failure=failure), since)


def silent_end(waiting: Waiting, now: float) -> End:
    """Return what is told of a call that was silent for too long, and still may be answered."""
    asked, since = waiting.asked, waiting.since
    return _ended(asked, waiting.epochs, verdict=Verdict.FAILED, outcome="silent", since=since, now=now, final=False)


def _stopped(asked: Begin, epochs: tuple[int, int], *, since: float) -> End:
    return _ended(
        asked, epochs, verdict=Verdict.STOPPED, outcome="stopped", since=since, now=time.monotonic(), final=True
    )


def _ended(
    asked: Begin, epochs: tuple[int, int], *, verdict: Verdict, outcome: str, since: float, now: float, final: bool
) -> End:
    return End(
        attempt=asked.attempt,
        provider=asked.provider,
        model=asked.model,
        tenant=asked.tenant,
        verdict=verdict,
        outcome=outcome,
        status=None,
        latency_ms=round((now - since) * 1_000, 1),
        epochs=epochs,
        probe=asked.probe,
        final=final,
    )
