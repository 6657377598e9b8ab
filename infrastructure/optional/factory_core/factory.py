"""A factory: builders by kind, asked for an object by a name and its configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

C = TypeVar("C")
T = TypeVar("T")
Builder = Callable[[str, C], T]


class Factory(Generic[C, T]):
    """Makes objects from configuration. `kind_of` reads the kind in a configuration; each kind has one builder."""

    def __init__(self, kind_of: Callable[[C], str]) -> None:
        self._kind_of = kind_of
        self._builders: dict[str, Builder[C, T]] = {}

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds that can be made, in order of their registration."""
        return tuple(self._builders)

    def register(self, kind: str, builder: Builder[C, T]) -> None:
        """Add the builder of a kind.

        Raises:
            ValueError: the kind has one.
        """
        if kind in self._builders:
            raise ValueError(f"expected one builder of kind {kind!r}, got a second")
        self._builders[kind] = builder

    def create(self, name: str, configuration: C) -> T:
        """Return a new object.

        Raises:
            LookupError: nobody makes its kind.
        """
        kind = self._kind_of(configuration)
        if kind not in self._builders:
            raise LookupError(f"{name}: expected a kind, one of {', '.join(self._builders)}, got {kind!r}")
        return self._builders[kind](name, configuration)
