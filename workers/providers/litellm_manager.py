"""From a request to an answer: candidates in order, one call at a time, every failure classified."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import ModelNotFound
from infrastructure.core.logger_core import get_logger
from infrastructure.core.logger_core.events import AI_COMPLETION_SUCCESS, PROVIDER_COMPLETION_FAILED, PROVIDER_FAILOVER
from infrastructure.core.performance_core import get_performance_tracker
from infrastructure.core.performance_core.operations import COST_USD, FAILOVER, PROVIDER_CALL, TOKENS, UNPRICED, named
from infrastructure.optional.event_core import NullPublisher, Publisher
from workers.jobs import topics
from workers.jobs.models import Attempt
from workers.jobs.routing import candidates
from workers.providers import answer as answers
from workers.providers.accounts import Account, Accounts, accounts
from workers.providers.calls import (
    DEADLINE_EXCEEDED,
    NO_CANDIDATE,
    Answer,
    Call,
    CompletionFailed,
    Target,
    answered_cost,
)
from workers.providers.classify import Failure, Kind, classify
from workers.providers.failover import Failover
from workers.providers.library import Library, load
from workers.providers.pricing import cost_usd
from workers.providers.redact import provider_text, redact

__all__ = ["Answer", "Call", "CompletionFailed", "LiteLLMManager"]

_log = get_logger("ai-provider", "litellm_manager")


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One attempt's end: a result, or a failure."""

    attempt: Attempt
    result: dict[str, Any] | None = None
    failure: Failure | None = None


class LiteLLMManager:
    """Makes completions through LiteLLM. Used on one event loop.

    `settings` is asked once for each call that brings none, so that a reload takes effect with the next. `events` hears of failovers.
    """

    def __init__(self, settings: Callable[[], Settings], *, events: Publisher | None = None) -> None:
        self._settings = settings
        self._events = events or NullPublisher()
        self._library: Library | None = None
        self._accounts: Accounts | None = None

    async def start(self) -> None:
        """Import LiteLLM, in a thread since that takes seconds; once."""
        if self._library is None:
            self._library = await asyncio.to_thread(load, concurrency=self._settings().worker.concurrency)
            self._accounts = accounts(self._library)

    async def close(self) -> None:
        """Close all connections to providers."""
        library, self._library = self._library, None
        opened, self._accounts = self._accounts, None
        if opened is not None:
            await opened.close()
        if library is not None:
            await library.close()

    async def completion(self, call: Call) -> Answer:
        """Return the first good answer of the model's candidates.

        Raises:
            CompletionFailed: there is none; nothing else but a defect of ours and a cancel comes out.
        """
        if _remaining_s(call) <= 0:
            raise CompletionFailed("the deadline passed before a provider was asked", job_code=DEADLINE_EXCEEDED)
        settings = call.settings or self._settings()
        library, opened = self._ready()
        async with opened.using(settings.version, settings.in_use()) as mine:
            return await self._first_good(call, settings, _targets(settings, call, mine), library)

    async def _first_good(
        self, call: Call, settings: Settings, targets: tuple[Target, ...], library: Library
    ) -> Answer:
        failover = Failover(targets, window=lambda target: library.context_window(target.endpoint))
        attempts: list[Attempt] = []
        index = 0
        while True:  # bounded: `failover` goes forward, and repeats the last candidate at most once
            target = targets[index]
            outcome = await self._attempt(call, target, library)
            attempts.append(outcome.attempt)
            _track(settings, outcome)
            if outcome.result is not None:
                event = _success_event(call, outcome.attempt, outcome.result["usage"])
                _log.log_business_event(AI_COMPLETION_SUCCESS, event)
                return _answer(outcome.result, target, tuple(attempts))
            assert outcome.failure is not None  # noqa: S101  an outcome is one of the two
            step = failover.after(outcome.failure, index=index, remaining_s=_remaining_s(call))
            context = _failure_context(call, target, outcome.failure, attempts, will_failover=step is not None)
            _log.error(PROVIDER_COMPLETION_FAILED, context=context)
            if step is None:
                raise _failed(settings, call, target, outcome.failure, tuple(attempts))
            if step.index != index:
                event = _failover_event(call, target, targets[step.index], outcome)
                _log.log_business_event(PROVIDER_FAILOVER, event)
                self._events.publish(topics.PROVIDER_FAILOVER, event)
                get_performance_tracker(settings.service.name).track_operation(FAILOVER, outcome.attempt.latency_ms)
            await asyncio.sleep(step.pause_s)
            index = step.index

    async def _attempt(self, call: Call, target: Target, library: Library) -> _Outcome:
        """Call one candidate once."""
        endpoint = target.endpoint
        timeout_s = min(target.provider.timeout_s, max(_remaining_s(call), 0))
        started = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                raw = await library.complete(endpoint, _fresh(call.params), timeout_s=timeout_s)
        except Exception as exc:  # noqa: BLE001  LiteLLM's exceptions have no common parent; each is a failed call
            failure = classify(exc, now=datetime.now(UTC))
            cost = None if failure.kind.may_be_billed else 0.0
            return _Outcome(_booked(target, started, outcome=failure, cost=cost), failure=failure)
        try:
            result = answers.completion(raw, model=target.model)
        except Exception:  # noqa: BLE001  a shape that nobody foresaw; it may be billed
            text = "the provider's answer has a form that is none"
            failure = Failure(kind=Kind.BAD_ANSWER, status=200, retry_after_s=None, text=text, error_type="BadAnswer")
            return _Outcome(_booked(target, started, outcome=failure, cost=None), failure=failure)
        price = target.provider.prices.get(target.model)
        cost = None
        if (call.settings or self._settings()).cost_tracking.enabled:
            cost = cost_usd(result["usage"], price=price, library=library, endpoint=endpoint, answer=raw)
        if fault := answers.fault(result):
            failure = Failure(kind=Kind.BAD_ANSWER, status=200, retry_after_s=None, text=fault, error_type="BadAnswer")
            return _Outcome(_booked(target, started, outcome=failure, cost=cost), failure=failure)
        return _Outcome(_booked(target, started, outcome=None, cost=cost), result=result)

    def _ready(self) -> tuple[Library, Accounts]:
        if self._library is None or self._accounts is None:
            raise RuntimeError("expected LiteLLMManager to be started, got a call before start() or after close()")
        return self._library, self._accounts


def _track(settings: Settings, outcome: _Outcome) -> None:
    """Measure a call under its provider; the model is the caller's word, of which there may be any number."""
    attempt, usage = outcome.attempt, (outcome.result or {}).get("usage")
    error = None if attempt.outcome == "ok" else attempt.outcome
    tracker = get_performance_tracker(settings.service.name)
    tracker.track_operation(named(PROVIDER_CALL, attempt.provider), attempt.latency_ms, error=error)
    if attempt.cost_usd is None:
        tracker.add_amount(named(UNPRICED, attempt.provider), 1)
        return
    tracker.add_amount(named(COST_USD, attempt.provider), attempt.cost_usd)
    tracker.add_amount(named(TOKENS, attempt.provider), usage["total_tokens"] if usage else 0)


def _targets(settings: Settings, call: Call, mine: Mapping[str, Account]) -> tuple[Target, ...]:
    """Return the candidates whose provider may answer at the length that is asked for.

    Raises:
        CompletionFailed: there is none.
    """
    try:
        found = candidates(settings, call.model)
    except ModelNotFound as exc:  # the configuration changed since the job was taken
        raise CompletionFailed(exc.message, job_code=NO_CANDIDATE) from None
    asked = call.params.get("max_completion_tokens") or call.params.get("max_tokens") or 0
    targets = [
        Target(one.provider, one.model, settings.providers[one.provider], mine[one.provider].endpoint(one.model))
        for one in found
    ]
    fitting = tuple(one for one in targets if one.provider.max_tokens is None or asked <= one.provider.max_tokens)
    if not fitting:
        most = max(one.provider.max_tokens or 0 for one in targets)
        text = f"expected max_tokens to be at most {most}, the most that a provider of this model allows, got {asked}"
        raise CompletionFailed(text, job_code=NO_CANDIDATE)
    return fitting


def _fresh(params: dict[str, Any]) -> dict[str, Any]:
    """Return a copy that LiteLLM may change: it takes the system message out of the list for some providers."""
    copy: dict[str, Any] = orjson.loads(orjson.dumps(params))
    return copy


def _remaining_s(call: Call) -> float:
    return call.deadline - time.monotonic()


def _booked(target: Target, started: float, *, outcome: Failure | None, cost: float | None) -> Attempt:
    return Attempt(
        provider=target.name,
        model=target.model,
        outcome=outcome.kind.value if outcome else "ok",
        status=outcome.status if outcome else 200,
        latency_ms=round((time.monotonic() - started) * 1000, 1),
        cost_usd=cost,
    )


def _answer(result: dict[str, Any], target: Target, attempts: tuple[Attempt, ...]) -> Answer:
    usage, cost = result["usage"], answered_cost(attempts)
    return Answer(
        result=result, usage=usage, cost_usd=cost, attempts=attempts, provider=target.name, model=target.model
    )


def _failed(
    settings: Settings, call: Call, target: Target, failure: Failure, attempts: tuple[Attempt, ...]
) -> CompletionFailed:
    late = failure.kind in {Kind.TIMEOUT, Kind.RATE_LIMITED, Kind.UNAVAILABLE} and _remaining_s(call) <= 0
    said = provider_text(failure.text) or ("no answer in time" if failure.kind is Kind.TIMEOUT else "no answer")
    keys = [one.api_key.get_secret_value() for one in settings.providers.values() if one.api_key]
    return CompletionFailed(
        f"{target.name}/{target.model}: {redact(said, secrets=keys)}",
        job_code=DEADLINE_EXCEEDED if late else failure.kind.value,
        attempts=attempts,
        retry_after_s=failure.retry_after_s,
    )


def _success_event(call: Call, attempt: Attempt, usage: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "operation": "ai_completion",
        "provider": attempt.provider,
        "model": attempt.model,
        "response_time_ms": attempt.latency_ms,
        "cost": attempt.cost_usd,
        "cost_estimate": attempt.cost_usd,  # the guide has the same figure under both names
        "tokens": usage["total_tokens"] if usage else None,
        "job_id": call.job_id,
    }


def _failure_context(
    call: Call, target: Target, failure: Failure, attempts: list[Attempt], *, will_failover: bool
) -> dict[str, Any]:
    return {
        "provider": target.name,
        "model": target.model,
        "error_type": failure.error_type,
        "outcome": failure.kind.value,
        "status": failure.status,
        "retry_count": len(attempts) - 1,
        "will_failover": will_failover,
        "job_id": call.job_id,
    }


def _failover_event(call: Call, target: Target, following: Target, outcome: _Outcome) -> dict[str, Any]:
    return {
        "from_provider": target.name,
        "to_provider": following.name,
        "reason": outcome.attempt.outcome,
        "failover_time_ms": outcome.attempt.latency_ms,
        "job_id": call.job_id,
    }
