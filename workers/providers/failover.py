"""One delivery's way through its candidates: who is asked next, after which pause, and when all there is left is to wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workers.jobs.models import Attempt
from workers.providers.classify import Action, Failure, Kind
from workers.providers.selection.selector import Choice

PATIENCE_S = 1.0
"""Waits of one delivery, all together; whoever has to wait longer is put back."""
DEFAULT_PAUSE_S = 1.0
"""Where a 429, or a gate that refuses, does not say how long."""
LONGEST_PAUSE_S = 60.0
ROUNDS = 8
"""Deliveries of a job in which providers that seem well failed it; then it is the request that they cannot answer."""
LEAST_PAUSE_S = 0.05
LEAST_WAIT_S = 0.5
"""Out of the way: a claim costs more than a pause."""
HALF_OPEN = "half_open"
ACCOUNT = frozenset({Kind.AUTHENTICATION, Kind.QUOTA})


@dataclass(frozen=True, slots=True)
class Step:
    """The next attempt: its candidate, and a pause before it (seconds)."""

    choice: Choice
    pause_s: float = 0


@dataclass(frozen=True, slots=True)
class _Later:
    """A candidate that may be asked at a moment to come; `asked`: it was, in this delivery."""

    choice: Choice
    at: float
    asked: bool
    probe_at: float = 0.0
    """From when it may be tried again, where its breaker is open since."""


class Way:
    """Every candidate once, the last of them once more, as the table of failures says. Moments are monotonic seconds.

    `earlier` are the attempts of the job's deliveries before this one.
    """

    def __init__(
        self, order: Sequence[Choice], *, earlier: Sequence[Attempt] = (), next_on_policy: bool = False
    ) -> None:
        self._unasked = deque(order)
        self._later: list[_Later] = []
        self._next_on_policy = next_on_policy
        self._last: Choice | None = None
        self._repeated = False
        self._ended = False
        self._waited_s = 0.0
        self._bad_answers = sum(one.outcome == Kind.BAD_ANSWER for one in earlier)
        self._rounds = _rounds(earlier, candidates=len(order))

    def next(self, now: float) -> Step | None:
        """Return the attempt to make; None when there is none for now, or for good."""
        if self._ended:
            return None
        if self._unasked:
            return Step(self._unasked.popleft())
        ready = min((one for one in self._later if self._may_ask(one)), key=_at, default=None)
        if ready is None:
            return None
        pause_s = max(ready.at - now, 0.0 if ready.asked else LEAST_PAUSE_S)
        if self._waited_s + pause_s > PATIENCE_S:
            return None
        self._waited_s += pause_s
        self._repeated = self._repeated or ready.asked
        self._later.remove(ready)
        return Step(ready.choice, pause_s)

    def refused(self, choice: Choice, *, at: float) -> None:
        """Hear that the gate let no call through; the candidate may be asked from a moment on."""
        self._later.append(_Later(choice, at, asked=False))

    def failed(
        self, choice: Choice, failure: Failure, *, now: float, probing: bool, next_probe_s: float | None
    ) -> None:
        """Hear that a candidate was asked and failed.

        `probing`: the call was the one that tried a provider held to be down; that says nothing of this job, which may wait
        with all others, for the next probe in `next_probe_s`.
        """
        self._last, probe_at = choice, now + (next_probe_s or 0.0)
        match failure.kind.action:
            case Action.FAIL:
                self._ended = not (self._next_on_policy and failure.kind is Kind.CONTENT_POLICY)
            case Action.LARGER:
                self._only_larger(choice)
            case Action.ONCE:
                self._bad_answers += 1
                self._ended = self._bad_answers > 1
            case Action.WAIT:
                pause_s = DEFAULT_PAUSE_S if failure.retry_after_s is None else failure.retry_after_s
                self._later.append(_Later(choice, now + pause_s, asked=True))
            case Action.AGAIN:
                self._later.append(_Later(choice, now, asked=True, probe_at=probe_at))
            case Action.NEXT if probing and failure.kind in ACCOUNT:
                self._last = None
                self._later.append(_Later(choice, max(probe_at, now + DEFAULT_PAUSE_S), asked=True))

    def put_back_s(self, now: float) -> float | None:
        """Return after how many seconds the job may be tried again; None when waiting will not help it."""
        if self._ended:
            return None
        waits = [self._wait_s(one, now) for one in self._later]
        return min((wait_s for wait_s in waits if wait_s is not None), default=None)

    def _wait_s(self, later: _Later, now: float) -> float | None:
        wait_s = later.at - now
        if not later.asked:
            return max(wait_s, LEAST_WAIT_S)
        if wait_s > 0:
            return wait_s
        if later.probe_at > now:
            return later.probe_at - now
        # It failed without a word of when to come again.
        return None if self._rounds >= ROUNDS else min(DEFAULT_PAUSE_S * 2**self._rounds, LONGEST_PAUSE_S)

    def _may_ask(self, later: _Later) -> bool:
        return not later.asked or (later.choice is self._last and not self._repeated)

    def _only_larger(self, choice: Choice) -> None:
        window = choice.target.facts.window
        if window is None:
            self._ended = True
            return
        self._unasked = deque(one for one in self._unasked if (one.target.facts.window or 0) > window)
        self._later = [one for one in self._later if (one.choice.target.facts.window or 0) > window]
        self._ended = not (self._unasked or self._later)


def _rounds(earlier: Iterable[Attempt], *, candidates: int) -> int:
    """Return in how many deliveries providers failed a job that were held to be well."""
    failed = sum(one.outcome == Kind.UNAVAILABLE and one.breaker != HALF_OPEN for one in earlier)
    return -(-failed // (candidates + 1))


def _at(later: _Later) -> float:
    return later.at
