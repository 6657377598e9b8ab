"""How every candidate stands, as far as this process knows: what the gate told last, and its own calls under way."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from infrastructure.core.error_core import StoreError
from workers.jobs.gate.models import Breaker, Gate, TargetState
from workers.jobs.gate.score import Terms, terms_of

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


class Standing(NamedTuple):
    """What is known of a candidate, as a call wants it: shut until a moment (monotonic seconds), from then on `door`."""

    terms: Terms
    shut_until: float
    door: Door


UNHEARD = Standing(terms_of(TargetState(provider="", model="")), -math.inf, Door.OPEN)
"""Of a candidate that nobody called yet."""


class Standings:
    """A snapshot that is never waited for. Used on one event loop; `clock` is monotonic, in seconds."""

    def __init__(self, gate: Gate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._gate = gate
        self._clock = clock
        self._known: dict[Key, Standing] = {}
        self._own: Counter[Key] = Counter()

    def learn(self, state: TargetState) -> None:
        """Take over what the gate says of a candidate."""
        self._known[state.provider, state.model] = _standing(state, self._clock())

    def view(self) -> tuple[float, Callable[[Key, Standing], Standing], Callable[[Key, int], int]]:
        """Return this moment, and what looks up how a candidate stands and how many calls of it are under way here."""
        return self._clock(), self._known.get, self._own.get

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

    async def refresh(self) -> None:
        """Ask the gate how all stand.

        Raises:
            StoreError: it does not know; what was known holds on.
        """
        states = await self._gate.states()
        now = self._clock()
        self._known = {(state.provider, state.model): _standing(state, now) for state in states}

    async def follow(self) -> None:
        """Refresh each second until cancelled."""
        while True:
            with contextlib.suppress(StoreError):  # what begin and end bring goes on being learnt
                await self.refresh()
            await asyncio.sleep(FRESH_S)


def _standing(state: TargetState, now: float) -> Standing:
    terms, breakers = terms_of(state), (state.breaker, state.account)
    if Breaker.HALF_OPEN in breakers:
        return Standing(terms, math.inf, Door.SHUT)  # until there is news
    shut = Breaker.OPEN in breakers
    wait_ms = max(state.throttled_ms, (state.next_probe_ms or 0) if shut else 0)
    return Standing(terms, now + wait_ms / 1_000 if wait_ms else -math.inf, Door.DUE if shut else Door.OPEN)
