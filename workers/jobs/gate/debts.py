"""Ends of calls that Redis has yet to be told of."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from workers.jobs.gate.models import End

MOST_OWED, PAID_AT_ONCE = 20_000, 1_000
MOST_REFUSED = 1_000
Debt = tuple[End, bool]
"""An end, and whether its call began while Redis was away."""


class Debts:
    """Of one process. `tell` tells Redis, and comes back with what it could not. An end may be told twice: it is booked once."""

    def __init__(self, tell: Callable[[Debt], Awaitable[object]]) -> None:
        self._tell = tell
        self._owed: deque[Debt] = deque(maxlen=MOST_OWED)
        self._refused: deque[Debt] = deque(maxlen=MOST_REFUSED)

    def __len__(self) -> int:
        """Return how many are owed since Redis was away."""
        return len(self._owed)

    def owe(self, debt: Debt) -> None:
        """Keep an end until Redis is back."""
        if debt[0].final:
            self._owed.append(debt)

    def refused(self, debt: Debt) -> None:
        """Keep an end that Redis would not take, though it was there."""
        if debt[0].final:
            self._refused.append(debt)

    def attempts(self) -> set[str]:
        """Return whose ends they are."""
        return {ended.attempt for ended, _ in (*self._owed, *self._refused)}

    async def pay(self, *, going: Callable[[], bool]) -> None:
        """Tell what is owed, for as long as Redis is there."""
        while self._owed and going():
            some = [self._owed.popleft() for _ in range(min(PAID_AT_ONCE, len(self._owed)))]
            try:
                await asyncio.gather(*(self._tell(debt) for debt in some))
            except asyncio.CancelledError:
                self._owed.extendleft(reversed(some))
                raise

    async def pay_refused(self, *, going: Callable[[], bool]) -> None:
        """Tell once more what Redis would not take."""
        for _ in range(len(self._refused)):
            if not going():
                return
            debt = self._refused.popleft()
            try:
                await self._tell(debt)
            except asyncio.CancelledError:
                self._refused.appendleft(debt)
                raise
