"""What is told of a breaker that changed: a line and an event, by the process whose call or check changed it."""

from __future__ import annotations

from infrastructure.core.logger_core import CoreLogger
from infrastructure.optional.event_core import Publisher
from workers.jobs import topics
from workers.jobs.gate.models import Breaker, BreakerChange


class BreakerTelling:
    """Writes the lines and publishes the events."""

    def __init__(self, events: Publisher, *, log: CoreLogger) -> None:
        self._events = events
        self._log = log

    def __call__(self, change: BreakerChange) -> None:
        """Tell a change."""
        context = {"provider": change.provider, "before": change.before.value, "state": change.state.value}
        if change.model is not None:
            context["model"] = change.model
        if change.reason:
            context["reason"] = change.reason
        if change.state is Breaker.CLOSED:
            self._log.info("Circuit breaker closed", context=context)
        elif change.state is Breaker.HALF_OPEN:
            self._log.info("Circuit breaker lets one call try", context=context)
        elif change.before is Breaker.CLOSED:
            self._log.warning("Circuit breaker opened", context=context)
        else:
            self._log.info("Circuit breaker stays open", context=context)
        self._events.publish(
            topics.PROVIDER_BREAKER,
            {
                "provider": change.provider,
                "model": change.model,
                "before": change.before.value,
                "state": change.state.value,
                "reason": change.reason,
            },
        )
