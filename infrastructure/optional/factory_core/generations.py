"""The objects of a configuration, made once for it, kept while they are used, closed when it is retired."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from infrastructure.core.logger_core import get_logger, where

C = TypeVar("C")
T = TypeVar("T")
_log = get_logger("infrastructure", "factory")


@dataclass(eq=False, slots=True)
class _Made(Generic[C, T]):
    """An object with the configuration that it was made from, and in how many generations it is."""

    configuration: C
    value: T
    generations: int = 0


@dataclass(eq=False, slots=True)
class _Generation(Generic[C, T]):
    made: Mapping[str, _Made[C, T]]
    objects: Mapping[str, T]
    users: int = 0
    retired: bool = False
    closed: bool = field(default=False)


class Generations(Generic[C, T]):
    """Keeps one generation of objects for each version of a configuration. Used on one event loop.

    An object whose own configuration did not change goes over into the next generation, with its connections. One that
    is in no generation any more is closed, which is when the last user of its last generation has left.

    Args:
        create: makes an object of a name and its configuration.
        close: closes one; what it raises is logged.
    """

    def __init__(self, create: Callable[[str, C], T], *, close: Callable[[T], Awaitable[object]]) -> None:
        self._create = create
        self._close = close
        self._generations: dict[str, _Generation[C, T]] = {}
        self._current = ""

    @asynccontextmanager
    async def using(self, version: str, configurations: Mapping[str, C]) -> AsyncIterator[Mapping[str, T]]:
        """Give the objects of a version, by name, and keep them open for as long as the block runs.

        Raises:
            LookupError: one cannot be made; nothing has changed then.
        """
        generation = self._generations.get(version) or self._make(version, configurations)
        generation.users += 1
        if version != self._current:
            await self._retire_all_but(version)
        try:
            yield generation.objects
        finally:
            generation.users -= 1
            if generation.retired and not generation.users:
                await self._end(version, generation)

    def get_metrics(self) -> dict[str, Any]:
        """Return how many generations there are, and how many objects in all of them."""
        made = {id(one) for generation in self._generations.values() for one in generation.made.values()}
        return {"generations": len(self._generations), "objects": len(made)}

    async def close(self) -> None:
        """Close everything, in use or not."""
        self._current = ""
        for version, generation in list(self._generations.items()):
            generation.retired = True
            await self._end(version, generation)

    def _make(self, version: str, configurations: Mapping[str, C]) -> _Generation[C, T]:
        latest = self._generations.get(self._current)
        known = latest.made if latest else {}
        made = {name: self._one(name, known.get(name), wanted) for name, wanted in configurations.items()}
        for one in made.values():
            one.generations += 1
        objects = MappingProxyType({name: one.value for name, one in made.items()})
        generation = self._generations[version] = _Generation(made, objects)
        return generation

    def _one(self, name: str, known: _Made[C, T] | None, wanted: C) -> _Made[C, T]:
        if known is not None and known.configuration == wanted:
            return known
        return _Made(wanted, self._create(name, wanted))

    async def _retire_all_but(self, version: str) -> None:
        self._current = version
        self._generations[version].retired = False
        for other, generation in list(self._generations.items()):
            if other != version:
                generation.retired = True
                if not generation.users:
                    await self._end(other, generation)

    async def _end(self, version: str, generation: _Generation[C, T]) -> None:
        if generation.closed:
            return
        generation.closed = True
        if self._generations.get(version) is generation:
            del self._generations[version]
        for name, one in generation.made.items():
            one.generations -= 1
            if one.generations == 0:
                await self._close_one(name, one.value)

    async def _close_one(self, name: str, value: T) -> None:
        try:
            await self._close(value)
        except Exception as exc:  # noqa: BLE001  the others are to be closed, whatever this one says
            _log.error("Object failed to close", context={"name": name, **where(exc)})
