"""Which candidate comes after a failure, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workers.providers.calls import Target
from workers.providers.classify import Action, Failure, Kind

MAX_PAUSE_S = 30
DEFAULT_PAUSE_S = 1.0  # where a 429 does not say how long


@dataclass(frozen=True, slots=True)
class Step:
    """The next attempt: index of its candidate, and a pause before it (seconds)."""

    index: int
    pause_s: float = 0


class Failover:
    """One job's way through its candidates: forward, and the last of them at most twice."""

    def __init__(self, targets: Sequence[Target], *, window: Callable[[Target], int | None]) -> None:
        self._targets = targets
        self._window = window
        self._repeated = False
        self._bad_answers = 0

    def after(self, failure: Failure, *, index: int, remaining_s: float) -> Step | None:
        """Return the attempt that follows a failure of the candidate at `index`, None when there is none."""
        action = failure.kind.action
        if action is Action.FAIL or remaining_s <= 0:
            return None
        if action is Action.LARGER:
            return self._larger(index)
        if action is Action.ONCE:
            self._bad_answers += 1
            if self._bad_answers > 1:
                return None
        if index + 1 < len(self._targets):
            return Step(index + 1)
        return self._again(failure, index=index, remaining_s=remaining_s)

    def _larger(self, index: int) -> Step | None:
        window = self._window(self._targets[index])
        if window is None:
            return None
        later = range(index + 1, len(self._targets))
        return next((Step(other) for other in later if (self._window(self._targets[other]) or 0) > window), None)

    def _again(self, failure: Failure, *, index: int, remaining_s: float) -> Step | None:
        """Return the last candidate's second chance, if this failure gives one."""
        pause_s = pause(failure)
        if pause_s is None or self._repeated or pause_s >= remaining_s:
            return None
        self._repeated = True
        return Step(index, pause_s)


def pause(failure: Failure) -> float | None:
    """Return how long to wait before the same candidate is asked again (seconds), None when it must not be."""
    if failure.kind is Kind.UNAVAILABLE:
        return 0
    if failure.kind is not Kind.RATE_LIMITED:
        return None
    pause_s = DEFAULT_PAUSE_S if failure.retry_after_s is None else failure.retry_after_s
    return pause_s if pause_s <= MAX_PAUSE_S else None
