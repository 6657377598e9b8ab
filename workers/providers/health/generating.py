"""Whether a provider's model generates: a completion of a few tokens, through the gate, booked as a probe."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from infrastructure.core.config_core import Settings
from infrastructure.core.performance_core import PerformanceTracker
from infrastructure.core.performance_core import operations as op
from workers.jobs.gate.costs import PROBES
from workers.jobs.gate.models import Verdict
from workers.jobs.models import Attempt
from workers.providers.calls import Call, CompletionFailed
from workers.providers.litellm_manager import LiteLLMManager

MOST_TOKENS = 16
SAYS_NOTHING = frozenset({Verdict.ALIVE, Verdict.THROTTLED, Verdict.STOPPED})
PARAMS: dict[str, Any] = {"messages": [{"role": "user", "content": "Reply with: ok"}], "max_tokens": MOST_TOKENS}


class Generator:
    """Has models generate. `load` gets the manager ready, at the latest for its first call; it may take seconds."""

    def __init__(
        self,
        manager: LiteLLMManager,
        *,
        load: Callable[[], Awaitable[None]],
        settings: Callable[[], Settings],
        tracker: PerformanceTracker,
    ) -> None:
        self._load = load
        self._manager = manager
        self._settings = settings
        self._tracker = tracker

    async def load(self) -> None:
        """Get the manager ready."""
        await self._load()

    async def __call__(self, provider: str, model: str, timeout_s: float) -> str | None:
        """Return why the model does not generate within `timeout_s` seconds, as a class of failure; empty: it does.

        None: it may not be tried now, or the answer says nothing of the provider.
        """
        await self.load()
        call = Call(
            model=f"{provider}/{model}",
            params=PARAMS,
            deadline=time.monotonic() + timeout_s,
            job_id="",
            tenant=PROBES,
            settings=self._settings(),
        )
        try:
            tried = await self._manager.probe(call)
        except CompletionFailed:  # the configuration has lost it meanwhile
            return None
        if tried is None:
            return None
        self._measure(tried.attempt)
        if tried.failure is None:
            return ""
        return None if tried.failure.verdict in SAYS_NOTHING else tried.failure.kind.value

    def _measure(self, attempt: Attempt) -> None:
        error = None if attempt.outcome == "ok" else attempt.outcome
        self._tracker.track_operation(op.named(op.PROVIDER_PROBE, attempt.provider), attempt.latency_ms, error=error)
        if attempt.cost_usd is None:
            self._tracker.add_amount(op.named(op.PROBE_UNPRICED, attempt.provider), 1)
        else:
            self._tracker.add_amount(op.named(op.PROBE_COST_USD, attempt.provider), attempt.cost_usd)
