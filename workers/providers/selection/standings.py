"""How every candidate stands, as far as this process knows: what the gate told last, and its own calls under way."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from enum import IntEnum

from infrastructure.core.error_core import StoreError
from workers.jobs.gate.models import Breaker, Gate, TargetState

FRESH_S = 1.0
Key = tuple[str, str]


class Door(IntEnum):
    """What a candidate would say to a call now, as far as is known; the gate alone decides."""

    DUE = 0
    """Its breaker is open, and it is time for the one call that tries it."""
    OPEN = 1
    """It takes calls."""
    SHUT = 2
    """It takes none: it cools down, or another call is trying it."""


class Standings:
    """A snapshot that is never waited for. Used on one event loop; `clock` is monotonic, in seconds."""

    def __init__(self, gate: Gate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._gate = gate
        self._clock = clock
        self._states: dict[Key, tuple[TargetState, float]] = {}
        self._own: Counter[Key] = Counter()

    def learn(self, state: TargetState) -> None:
        """Take over what the gate says of a candidate."""
        self._states[state.provider, state.model] = state, self._clock()

    def look(self, key: Key) -> tuple[TargetState, Door, int]:
        """Return how a candidate stood when it was last heard of, what it would say now, and our calls under way."""
        known = self._states.get(key)
        if known is None:
            return TargetState(provider=key[0], model=key[1]), Door.OPEN, self._own.get(key, 0)
        state, at = known
        return state, self._door(state, at), self._own.get(key, 0)

    def own(self, key: Key) -> int:
        """Return this process's calls under way."""
        return self._own.get(key, 0)

    def began(self, key: Key) -> None:
        """Count a call as under way."""
        self._own[key] += 1

    def ended(self, key: Key) -> None:
        """Count it no more."""
        self._own[key] -= 1
        if self._own[key] <= 0:
            del self._own[key]

    def _door(self, state: TargetState, at: float) -> Door:
        closed = state.breaker is Breaker.CLOSED and state.account is Breaker.CLOSED
        if closed and not state.throttled_ms:
            return Door.OPEN
        age_ms = 1_000 * (self._clock() - at)
        if state.throttled_ms > age_ms or Breaker.HALF_OPEN in (state.breaker, state.account):
            return Door.SHUT
        if closed:
            return Door.OPEN
        return Door.SHUT if (state.next_probe_ms or 0) > age_ms else Door.DUE

    async def refresh(self) -> None:
        """Ask the gate how all stand.

        Raises:
            StoreError: it does not know; what was known holds on.
        """
        states = await self._gate.states()
        now = self._clock()
        self._states = {(state.provider, state.model): (state, now) for state in states}

    async def follow(self) -> None:
        """Refresh each second until cancelled."""
        while True:
            with contextlib.suppress(StoreError):  # what begin and end bring goes on being learnt
                await self.refresh()
            await asyncio.sleep(FRESH_S)
