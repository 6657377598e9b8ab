"""Values under way from elsewhere, so that one which was changed meanwhile is not kept."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from infrastructure.core.cache_core.names import Name

_ANY = b""


class Flight:
    """A value that somebody reads or writes, from before he asks until he has kept it."""

    __slots__ = ("_flights", "_name", "_seen", "_users")

    def __init__(self, flights: dict[Name, Flight], name: Name) -> None:
        self._flights = flights
        self._name = name
        self._seen: bytes | None = None
        self._users = 0

    def __enter__(self) -> Self:
        self._users += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._users -= 1
        if not self._users:
            del self._flights[self._name]

    def touch(self, stamp: bytes) -> None:
        """Note a change; `stamp` is its entry in the log."""
        self._seen = stamp

    def lets(self, stamp: bytes | None) -> bool:
        """Say whether a value with this stamp may be kept: nothing changed, or that very write was the last change."""
        return self._seen is None or (self._seen == stamp and stamp != _ANY)


class Flights:
    """All flights of a cache: those of one name share one."""

    def __init__(self) -> None:
        self._flights: dict[Name, Flight] = {}

    def over(self, name: Name) -> Flight:
        """Return the flight of a name, to be held with `with`."""
        return self._flights.setdefault(name, Flight(self._flights, name))

    def touch(self, name: Name, stamp: bytes = _ANY) -> None:
        """Note that a value was changed."""
        flight = self._flights.get(name)
        if flight is not None:
            flight.touch(stamp)

    def touch_where(self, condition: Callable[[Name], bool]) -> None:
        """Note that every value whose name meets a condition was changed."""
        for name, flight in self._flights.items():
            if condition(name):
                flight.touch(_ANY)
