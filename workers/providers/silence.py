"""A provider that says nothing: calls that take far too long, while it answers nobody, are failures before they time out."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from workers.jobs.gate.models import Begin

LOOK_S = 0.25
LEAST_S = 1.0
"""No call is too long before it took this."""
ANSWERS = 20
"""Good ones of a candidate, before it is known what is long for it."""
REMEMBERED = 128
CANDIDATES = 1_000
Key = tuple[str, str]


@dataclass(eq=False, slots=True)
class Waiting:
    """A call under way."""

    asked: Begin
    epochs: tuple[int, int]
    since: float
    silent: bool = False
    """It was told that this call hears nothing."""


@dataclass(slots=True)
class _Candidate:
    waiting: dict[str, Waiting] = field(default_factory=dict)
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    answered_at: float = float("-inf")
    patience_s: float | None = None


class Silence:
    """Watches the calls of one process. `tell` is awaited once for each call that is found silent."""

    def __init__(
        self,
        tell: Callable[[Waiting], Awaitable[None]],
        *,
        factor: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell = tell
        self._factor = factor
        self._clock = clock
        self._candidates: dict[Key, _Candidate] = {}

    def began(self, asked: Begin, *, epochs: tuple[int, int]) -> Waiting:
        """Watch a call from now on."""
        call = Waiting(asked, epochs, self._clock())
        self._of((asked.provider, asked.model)).waiting[asked.attempt] = call
        return call

    def ended(self, call: Waiting, *, answered: bool, good: bool = False) -> None:
        """Watch a call no more; `answered`: its provider said something, be it an error; `good`: an answer."""
        candidate, now = self._of((call.asked.provider, call.asked.model)), self._clock()
        candidate.waiting.pop(call.asked.attempt, None)
        if answered:
            candidate.answered_at = now
        if good:
            candidate.latencies_s.append(now - call.since)
            candidate.patience_s = None

    def patience_s(self, key: Key) -> float | None:
        """Return after how long a call of a candidate is too long; None as long as too few answers were heard."""
        candidate = self._candidates.get(key)
        if candidate is None or len(candidate.latencies_s) < ANSWERS:
            return None
        if candidate.patience_s is None:
            ordered = sorted(candidate.latencies_s)
            candidate.patience_s = max(LEAST_S, self._factor() * ordered[int(0.95 * (len(ordered) - 1))])
        return candidate.patience_s

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            for call in self.silent():
                await self._tell(call)

    def silent(self) -> list[Waiting]:
        """Return the calls that are newly too long, oldest first, of candidates that answered nobody since they began."""
        now, found = self._clock(), []
        for key, candidate in self._candidates.items():
            if not candidate.waiting or (patience_s := self.patience_s(key)) is None:
                continue
            for call in candidate.waiting.values():  # in the order in which they began
                if now - call.since <= patience_s:
                    break
                if not call.silent and candidate.answered_at <= call.since:
                    call.silent = True
                    found.append(call)
        return found

    def _of(self, key: Key) -> _Candidate:
        found = self._candidates.get(key)
        if found is None:
            if len(self._candidates) >= CANDIDATES:
                self._forget_one()
            found = self._candidates[key] = _Candidate()
        return found

    def _forget_one(self) -> None:
        idle = next((key for key, one in self._candidates.items() if not one.waiting), None)
        if idle is not None:
            del self._candidates[idle]
