"""The objects of a configuration, made once for it, kept while they are used, closed when it is retired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.logger_core import get_logger, where

CLOSE_S = 10.0
WAIT_S = 0.5  # somebody's request is not to wait longer for what others have retired
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
        close: closes one, within 10 s; what it raises is logged.
    """

    def __init__(self, create: Callable[[str, C], T], *, close: Callable[[T], Awaitable[object]]) -> None:
        self._create = create
        self._close = close
        self._generations: dict[str, _Generation[C, T]] = {}
        self._current = ""
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def using(self, version: str, configurations: Mapping[str, C]) -> AsyncIterator[Mapping[str, T]]:
        """Give the objects of a version, by name, and keep them open for as long as the block runs.

        Raises:
            LookupError: one cannot be made; nothing has changed then.
        """
        generation = self._generations.get(version) or self._make(version, configurations)
        generation.users += 1
        try:
            if version != self._current:
                await self._retire_all_but(version)
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
        """Close everything, in use or not; what does not close in time is left behind."""
        self._current = ""
        for version, generation in list(self._generations.items()):
            generation.retired = True
            await self._end(version, generation)
        if self._closing:
            await asyncio.wait(self._closing, timeout=CLOSE_S)
            await end_tasks(self._closing, within_s=CLOSE_S)

    def _make(self, version: str, configurations: Mapping[str, C]) -> _Generation[C, T]:
        latest = self._generations.get(self._current)
        known = latest.made if latest else {}
        made: dict[str, _Made[C, T]] = {}
        try:
            for name, wanted in configurations.items():
                made[name] = self._one(name, known.get(name), wanted)
        except BaseException:
            self._close_soon({name: one.value for name, one in made.items() if not one.generations})
            raise
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
        for one in generation.made.values():
            one.generations -= 1
        closing = self._close_soon({name: one.value for name, one in generation.made.items() if not one.generations})
        await asyncio.wait({closing}, timeout=WAIT_S)  # in a task of its own: whoever waits may be cancelled, or late

    def _close_soon(self, values: Mapping[str, T]) -> asyncio.Task[None]:
        closing = asyncio.create_task(self._close_all(values), name="closing what is retired")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

    async def _close_all(self, values: Mapping[str, T]) -> None:
        await asyncio.gather(*(self._close_one(name, value) for name, value in values.items()))

    async def _close_one(self, name: str, value: T) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._close(value)
        except Exception as exc:  # noqa: BLE001  the others are to be closed, whatever this one says
            _log.error("Object failed to close", context={"name": name, **where(exc)})
