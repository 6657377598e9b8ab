"""What Redis has not been told while it was away: values to forget, and values worth keeping after all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from infrastructure.core.cache_core.changes import Change
from infrastructure.core.cache_core.scopes import Scope
from infrastructure.core.logger_core import CoreLogger

OWED = 1_000
"""Changes remembered for a Redis that is away; with more, all that it holds is given up when it is back."""
HELD, HELD_BYTES = 1_000, 16_000_000
"""Values held for it; with more, the oldest are given up."""
TELL_EVERY_S = 60.0


@dataclass(slots=True)
class Troubles:
    """What went wrong in L2 since the start."""

    failed: int = 0
    skipped: int = 0
    """Reads and changes that were not tried, since Redis is away."""
    impatient: int = 0
    """Reads that were given up, and changes that nobody waited for any longer, while Redis answered others."""
    held: int = 0
    """Values that were to be kept and waited for Redis to come back."""
    unkept: int = 0
    """Values that were to be kept in Redis and were not."""


class Debts:
    """Changes that Redis could not be told. When it is back they are `due`: forgetting first, then keeping.

    A value that cannot be kept leaves a debt as well: to forget what Redis may hold under its name, which is older.
    """

    def __init__(self, troubles: Troubles, *, clock: Callable[[], float], log: CoreLogger) -> None:
        self._troubles = troubles
        self._clock = clock
        self._log = log
        self._held: dict[Scope, Change] = {}
        self._bytes = 0
        self._untold = 0
        self._tell_at = 0.0
        self.owed: set[Scope] = set()

    def __len__(self) -> int:
        return len(self.owed) + len(self._held)

    @property
    def held(self) -> int:
        """Return how many values wait."""
        return len(self._held)

    def add(self, change: Change) -> None:
        """Take over a change that Redis may not have made; it comes after all that were added before."""
        self.supersede(change.scope)
        if change.until is None:
            self._owe(change.scope)
        elif change.until <= self._clock():
            self.lose(change)
        else:
            self._hold(change)

    def supersede(self, scope: Scope) -> None:
        """Give up what is held in a scope: it is changed again."""
        if scope in self._held:
            self._bytes -= self._held.pop(scope).bytes
        elif self._held and scope.key is None:
            for name in [one for one in self._held if scope.holds((one.namespace or "", one.key or ""))]:
                self._bytes -= self._held.pop(name).bytes

    def due(self) -> tuple[list[Scope], list[Change]]:
        """Hand over everything: what is to be forgotten, and what to be kept then."""
        for change in [one for one in self._held.values() if (one.until or 0.0) <= self._clock()]:
            self.supersede(change.scope)
            self.lose(change)
        owed, held = list(self.owed), list(self._held.values())
        self.owed, self._held, self._bytes = set(), {}, 0
        return owed, held

    def lose(self, change: Change) -> None:
        """Count a value that is not kept, and owe its name."""
        self.count_lost()
        self._owe(change.scope)

    def count_lost(self, count: int = 1) -> None:
        """Count values that are not kept."""
        self._troubles.unkept += count
        self._untold += count

    def give_up(self) -> None:
        """Count all that is held as lost: the process ends."""
        self.count_lost(len(self._held))
        self._held, self._bytes = {}, 0
        self.tell()

    def tell(self, *, at_most_each_minute: bool = False) -> None:
        """Say how many values were not kept since it was said last."""
        if not self._untold or (at_most_each_minute and self._clock() < self._tell_at):
            return
        self._tell_at = self._clock() + TELL_EVERY_S
        self._log.warning("Cache could not keep values in Redis", context={"count": self._untold})
        self._untold = 0

    def _owe(self, scope: Scope) -> None:
        self.owed.add(scope)
        if len(self.owed) > OWED:
            self.owed = {Scope()}

    def _hold(self, change: Change) -> None:
        self._troubles.held += 1
        self._held[change.scope] = change
        self._bytes += change.bytes
        while len(self._held) > HELD or self._bytes > HELD_BYTES:
            oldest = next(iter(self._held.values()))
            self.supersede(oldest.scope)
            self.lose(oldest)
