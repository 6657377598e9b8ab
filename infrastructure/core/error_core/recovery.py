"""What to do after an error: try again, go on with something else, or give up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infrastructure.core.error_core.errors import ServiceError

MOST_BACKOFF_STEPS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try again, `attempts` times at most (None: as long as the caller's time lasts).

    The pause is `after_s` seconds, times `factor` for each attempt before, `most_s` at most; an error that says itself
    when to come back (`retry_after_s`) is believed up to `most_s`.
    """

    after_s: float
    factor: float = 1.0
    most_s: float = 30.0
    attempts: int | None = None

    def pause_s(self, error: BaseException, *, attempt: int) -> float:
        """Return how long to wait after the attempt of this number (1 is the first), in seconds."""
        if isinstance(error, ServiceError) and error.retry_after_s is not None:
            return min(error.retry_after_s, self.most_s)
        return min(self.after_s * self.factor ** min(attempt - 1, MOST_BACKOFF_STEPS), self.most_s)

    def allows(self, attempt: int) -> bool:
        """Say whether another attempt may follow the one of this number."""
        return self.attempts is None or attempt < self.attempts


@dataclass(frozen=True, slots=True)
class Fallback:
    """Go on with what `make` returns for the error."""

    make: Callable[[BaseException], Any]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Let the error out: nothing that is known helps."""


Recovery = Retry | Fallback | GiveUp
GIVE_UP = GiveUp()


class Strategies:
    """Recoveries by exception class; the nearest class that one was registered for decides."""

    def __init__(self) -> None:
        self._by_class: dict[type[BaseException], Recovery] = {}

    def register(self, kind: type[BaseException], recovery: Recovery) -> None:
        """Set what follows exceptions of a class and its subclasses; a later registration replaces an earlier one.

        Raises:
            TypeError: one of the two is something else, such as the class `Retry` in place of `Retry(after_s=1)`.
        """
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"expected a class of exceptions, got {kind!r}")
        if not isinstance(recovery, Recovery):
            raise TypeError(f"expected a recovery such as Retry(after_s=1), got {recovery!r}")
        self._by_class[kind] = recovery

    def find(self, error: BaseException) -> Recovery:
        """Return the recovery for an exception, `GiveUp` where none was registered."""
        found = (self._by_class[parent] for parent in type(error).__mro__ if parent in self._by_class)
        return next(found, GIVE_UP)
