"""Why no candidate may be called now, in the words that the job's owner reads."""

from __future__ import annotations

from math import floor

from workers.jobs.gate.models import Admission, Breaker, Refusal, TargetState
from workers.jobs.models import Attempt
from workers.providers.calls import Target

MOST_NAMED = 4
LONGEST = 600
"""Characters; it is kept in the job."""


class Why:
    """What kept a delivery from each of its candidates; the last that is heard of a candidate counts."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], str] = {}

    def refused(self, target: Target, admission: Admission) -> None:
        """Hear that the gate let no call through."""
        if admission.refusal is not None:
            self._tell(target, _refusal(target, admission))

    def failed(self, target: Target, attempt: Attempt) -> None:
        """Hear that it was asked, and failed."""
        status = "" if attempt.status is None else f" ({attempt.status})"
        self._tell(target, f"{attempt.outcome}{status}")

    def budget(self, target: Target) -> None:
        """Hear that there are no retries left for it; why one is needed is known."""
        self._tell(target, "so many calls have failed lately that it is not tried again now")

    def text(self) -> str:
        """Return all of it in one line."""
        named = [f"{'/'.join(key)} {why}" for key, why in list(self._told.items())[:MOST_NAMED]]
        if (more := len(self._told) - MOST_NAMED) > 0:
            named.append(f"{more} more")
        return "; ".join(named)[:LONGEST] or "none is left to ask"

    def _tell(self, target: Target, why: str) -> None:
        self._told.pop(target.key, None)
        self._told[target.key] = why


def _refusal(target: Target, admission: Admission) -> str:
    state, limits = admission.state, target.provider.limits
    match admission.refusal:
        case Refusal.OPEN:
            return _broken(state)
        case Refusal.THROTTLED:
            return f"asked us to slow down (429), for {_span(state.throttled_ms)}"
        case Refusal.FULL:
            learnt = state.concurrency_limit
            if learnt is not None and state.in_flight >= floor(learnt):
                return f"has {state.in_flight} calls in flight, as many as it was found to stand ({floor(learnt)})"
            return f"has as many calls in flight as limits.concurrency allows ({limits.concurrency})"
        case _:
            return _rate(target, state, admission.wait_ms)


def _broken(state: TargetState) -> str:
    whole = state.account is not Breaker.CLOSED
    reason = state.reason or state.last_error or "failures"
    due = "" if state.next_probe_ms is None else f", next try in {_span(state.next_probe_ms)}"
    return f"is left alone after {reason}{' (the whole account)' if whole else ''}{due}"


def _rate(target: Target, state: TargetState, wait_ms: int) -> str:
    limits, named = target.provider.limits, []
    for name, ours, learnt in (
        ("requests_per_minute", limits.requests_per_minute, state.requests_per_minute),
        ("tokens_per_minute", limits.tokens_per_minute, state.tokens_per_minute),
    ):
        if ours is not None:
            named.append(f"limits.{name} {ours}")
        elif learnt is not None:
            named.append(f"{learnt} {name.replace('_', ' ')} as it says")
    return f"has had what a minute allows ({', '.join(named) or 'as it says'}), for {_span(wait_ms)}"


def _span(wait_ms: float) -> str:
    return f"{max(wait_ms, 0) / 1000:.1f} s"
