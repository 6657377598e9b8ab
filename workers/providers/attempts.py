"""One attempt: the gate is asked, the provider is called once, its answer is checked, the gate is told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from workers.jobs.gate.models import Admission, Gate, Refusal, Verdict
from workers.providers import answer as answers
from workers.providers.billing import failed_call_usd
from workers.providers.booking import attempt_of, begin_of, end_of, stopped
from workers.providers.calls import JobGone, Target
from workers.providers.classify import Failure, Kind, classify
from workers.providers.closing import Closing
from workers.providers.heard import Heard, listening
from workers.providers.library import Endpoint
from workers.providers.pricing import cost_usd
from workers.providers.selection.selector import Choice
from workers.providers.selection.standings import Standings
from workers.providers.silence import Silence, Waiting
from workers.providers.work import CallEnd, Opened, Tried, Work

COUNTED = frozenset({Verdict.FAILED, Verdict.BAD})
AT_ITS_LIMIT = 0.98
"""Of a provider's own timeout: a call cut off before says nothing of the provider."""


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
            asked = begin_of(work, choice.target)
            admission = await self._gate.begin(asked)  # cancelled meanwhile, it takes back what it let through
            self._standings.learn(admission.state)
            if admission.admitted:
                return Opened(choice, asked, admission)
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
            with listening() as listener:
                heard = await _called(work, target, listener)
        except BaseException:  # cancelled: the gate has to hear of it all the same
            self._silence.ended(waiting, answered=False)
            end = stopped(opened.asked, opened.admission.epochs, since=started, sent=listener.sent)
            self._closing.begin(self._gate.end(end))
            raise
        finally:
            self._standings.ended(target.key)
        answered = heard.failure is None or heard.failure.kind is not Kind.TIMEOUT
        took_s = time.monotonic() - started
        verdict = self._verdict(heard.failure, waiting, target, took_s, probe=work.probe)
        self._silence.ended(waiting, answered=answered, good=heard.failure is None)
        attempt = attempt_of(opened, heard, started)
        state = await self._closing.finish(self._gate.end(end_of(opened, heard, attempt, verdict)))
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


async def _called(work: Work, target: Target, heard: Heard) -> CallEnd:
    endpoint, provider = work.accounts[target.name].endpoint(target.model), target.provider
    try:
        async with work.party.within(provider.timeout_s):
            raw = await work.library.complete(endpoint, fresh(work.call.params), timeout_s=provider.timeout_s)
    except Exception as exc:  # noqa: BLE001  LiteLLM's exceptions have no common parent; each is a failed call
        failure = classify(
            exc, now=datetime.now(UTC), headers=heard.headers, sent=lambda: _text(target, work.call.params)
        )
        if heard.asked:
            failure = replace(failure, status=heard.status)  # LiteLLM gives one also to what nobody answered
        cost = failed_call_usd(failure, heard, target, priced=work.settings.cost_tracking.enabled)
        return CallEnd(headers=heard.headers, failure=failure, cost_usd=cost)
    return _checked(work, target, endpoint, raw, heard.headers)


def _checked(work: Work, target: Target, endpoint: Endpoint, raw: Any, headers: Mapping[str, str]) -> CallEnd:
    try:
        result = answers.completion(raw, model=target.model)
    except Exception:  # noqa: BLE001  a shape that nobody foresaw; it may be billed
        return CallEnd(headers=headers, failure=_bad("the provider's answer has a form that is none", innocent=False))
    price, cost = target.provider.prices.get(target.model), None
    if work.settings.cost_tracking.enabled:
        cost = cost_usd(result["usage"], price=price, library=work.library, endpoint=endpoint, answer=raw)
    fault = answers.fault(result)
    if fault and not (work.probe and answers.cut_short(result)):
        failure = _bad(fault, innocent=answers.innocent(result))
        return CallEnd(headers=headers, result=result, failure=failure, cost_usd=cost)
    return CallEnd(headers=headers, result=result, cost_usd=cost)


def _text(target: Target, params: Mapping[str, Any]) -> str:
    """Return what the caller had us send, as text."""
    return f"{target.model} {orjson.dumps(params).decode()}"


def _bad(text: str, *, innocent: bool) -> Failure:
    return Failure(
        kind=Kind.BAD_ANSWER, status=200, retry_after_s=None, text=text, error_type="BadAnswer", innocent=innocent
    )


def fresh(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that LiteLLM may change: it takes the system message out of the list for some providers."""
    copy: dict[str, Any] = orjson.loads(orjson.dumps(params))
    return copy
