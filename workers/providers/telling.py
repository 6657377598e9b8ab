"""What is told of completions: the guide's log lines and events, and the figures of performance tracking."""

from __future__ import annotations

from typing import Any

from infrastructure.core.logger_core import get_logger
from infrastructure.core.logger_core.events import (
    AI_COMPLETION_SUCCESS,
    CACHE_HIT,
    PROVIDER_COMPLETION_FAILED,
    PROVIDER_FAILOVER,
)
from infrastructure.core.performance_core import PerformanceTracker
from infrastructure.core.performance_core import operations as op
from infrastructure.optional.event_core import Publisher
from workers.jobs import topics
from workers.jobs.models import Attempt
from workers.providers.calls import Answer, Call
from workers.providers.classify import Failure
from workers.providers.selection.selector import Choice
from workers.providers.work import Tried

_log = get_logger("ai-provider", "litellm_manager")


class Telling:
    """Writes the lines, publishes the events, counts."""

    def __init__(self, events: Publisher) -> None:
        self._events = events

    def hit(self, answer: Answer, *, digest: str, took_ms: float, tracker: PerformanceTracker) -> None:
        """Tell that the cache had the answer."""
        tracker.track_operation(op.CACHE_HIT, took_ms)
        faster = 1 - took_ms / answer.latency_ms if answer.latency_ms > took_ms else 0.0
        context = {"cache_key": digest, "performance_improvement": f"{faster:.0%} faster",
                   "response_time_ms": round(took_ms, 3)}  # fmt: skip
        _log.info(CACHE_HIT, context=context)

    def attempt(self, choice: Choice, tried: Tried, *, tracker: PerformanceTracker) -> None:
        """Measure a call under its provider; the model is the caller's word, of which there may be any number."""
        attempt, usage = tried.attempt, (tried.result or {}).get("usage")
        error = None if attempt.outcome == "ok" else attempt.outcome
        tracker.track_operation(op.named(op.PROVIDER_CALL, attempt.provider), attempt.latency_ms, error=error)
        tracker.track_operation(
            op.CALL_EXPLORED if choice.explored else op.CALL_SELECTED, attempt.latency_ms, error=error
        )
        if attempt.cost_usd is None:
            tracker.add_amount(op.named(op.UNPRICED, attempt.provider), 1)
            return
        tracker.add_amount(op.named(op.COST_USD, attempt.provider), attempt.cost_usd)
        tracker.add_amount(op.named(op.TOKENS, attempt.provider), usage["total_tokens"] if usage else 0)

    def success(self, call: Call, attempt: Attempt, usage: dict[str, Any] | None) -> None:
        """Tell that a provider answered."""
        _log.log_business_event(
            AI_COMPLETION_SUCCESS,
            {
                "operation": "ai_completion",
                "provider": attempt.provider,
                "model": attempt.model,
                "response_time_ms": attempt.latency_ms,
                "cost": attempt.cost_usd,
                "cost_estimate": attempt.cost_usd,  # the guide has the same figure under both names
                "tokens": usage["total_tokens"] if usage else None,
                "job_id": call.job_id,
            },
        )

    def failure(self, call: Call, attempt: Attempt, failure: Failure, *, retries: int, will_failover: bool) -> None:
        """Tell that a provider failed."""
        context = {
            "provider": attempt.provider,
            "model": attempt.model,
            "error_type": failure.error_type,
            "outcome": failure.kind.value,
            "status": failure.status,
            "retry_count": retries,
            "will_failover": will_failover,
            "job_id": call.job_id,
        }
        _log.error(PROVIDER_COMPLETION_FAILED, context=context)

    def failover(
        self, call: Call, failed: Attempt, to_provider: str, *, took_ms: float, tracker: PerformanceTracker
    ) -> None:
        """Tell that another candidate is called; `took_ms`: since the one that failed was."""
        event = {
            "from_provider": failed.provider,
            "to_provider": to_provider,
            "reason": failed.outcome,
            "failover_time_ms": round(took_ms, 1),
            "job_id": call.job_id,
        }
        _log.log_business_event(PROVIDER_FAILOVER, event)
        self._events.publish(topics.PROVIDER_FAILOVER, event)
        tracker.track_operation(op.FAILOVER, took_ms)
