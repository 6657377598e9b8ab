"""What the gate is asked before a call and told after it, and how the call shows in its job."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

from workers.jobs.gate.models import STOPPED, Begin, End, Limits, Verdict
from workers.jobs.ids import new_nonce
from workers.jobs.models import Attempt
from workers.providers.calls import Target
from workers.providers.classify import Failure, Kind
from workers.providers.estimate import most_usd
from workers.providers.rates import rates
from workers.providers.silence import Waiting
from workers.providers.work import CallEnd, Opened, Work

SCORE_DIGITS = 9


def begin_of(work: Work, target: Target) -> Begin:
    """Return what is asked of the gate before a call.

    The call may take the provider's whole timeout, also where those who wait now have less time: others may join them.
    """
    limits = target.provider.limits
    return Begin(
        attempt=new_nonce(),
        provider=target.name,
        model=target.model,
        tenant=work.call.tenant,
        timeout_ms=round(target.provider.timeout_s * 1_000),
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


def attempt_of(opened: Opened, heard: CallEnd, started: float) -> Attempt:
    """Return a call as its job shows it."""
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


def end_of(opened: Opened, heard: CallEnd, attempt: Attempt, verdict: Verdict) -> End:
    """Return what the gate is told after a call."""
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
        upper_usd=asked.upper_usd,
        retry_after_ms=None if wait_s is None else round(wait_s * 1_000),
        rates=rates(heard.headers, now=datetime.now(UTC)) if heard.headers else None,
        probe=asked.probe,
    )


def unanswered(opened: Opened, *, since: float) -> Attempt:
    """Return an attempt under way as it looks to one who cannot wait for it any longer."""
    failure = Failure(kind=Kind.TIMEOUT, status=None, retry_after_s=None, text="", error_type="TimeoutError")
    return attempt_of(opened, CallEnd(headers={}, failure=failure), since)


def silent_end(waiting: Waiting, now: float) -> End:
    """Return what is told of a call that was silent for too long, and still may be answered."""
    asked, since = waiting.asked, waiting.since
    return _ended(asked, waiting.epochs, verdict=Verdict.FAILED, outcome="silent", since=since, now=now, final=False)


def stopped(asked: Begin, epochs: tuple[int, int], *, since: float, sent: bool) -> End:
    """Return what is told of a call that we ended ourselves; one that was not `sent` cost nothing."""
    end = _ended(asked, epochs, verdict=Verdict.STOPPED, outcome=STOPPED, since=since, now=time.monotonic(), final=True)
    return end if sent else replace(end, cost_usd=0.0)


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
        upper_usd=asked.upper_usd,
        probe=asked.probe,
        final=final,
    )
