"""The container of one request or job: its own parts, cleaned up in reverse when it ends."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Self, TypeVar

from infrastructure.core.logger_core import get_logger, where
from infrastructure.optional.container_core.parts import Lifetime, Part, Ping, Step, do_all

if TYPE_CHECKING:
    from infrastructure.optional.container_core.registry import Registry

T = TypeVar("T")
_log = get_logger("infrastructure", "container")


class Container:
    """Gives parts of its own scope, made once here, and those of the process. Used by one task; close it.

    An async context manager; leaving it closes it.
    """

    __slots__ = ("_closers", "_made", "_making", "_registry")

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._made: dict[tuple[type[Any], str], Any] = {}
        self._making: list[str] = []
        self._closers: list[tuple[str, Step, Any]] = []

    def get(self, kind: type[T], name: str = "") -> T:
        """Return a part, made here when it is asked for first and lives in a scope.

        Raises:
            LookupError: there is none, or it needs itself.
        """
        key = (kind, name)
        if key not in self._made:
            part = self._registry.part(kind, name)
            if part.lifetime is Lifetime.PROCESS:
                return self._registry.get(kind, name)
            self._make(part)
        value: T = self._made[key]
        return value

    def put(self, kind: type[T], value: T, *, name: str = "", stop: Step | None = None) -> T:
        """Add a value that only this container has, such as the job itself, and return it."""
        self._made[kind, name] = value
        if stop is not None:
            self._closers.append((name or kind.__name__, stop, value))
        return value

    def get_pings(self) -> list[Ping]:
        """Return a ping for each part of the process, and of this scope as far as made, that has one."""
        pings = self._registry.get_pings()
        for (kind, name), value in self._made.items():
            part = self._part(kind, name)
            if part is not None and part.ping is not None:
                pings.append(Ping(part.title, lambda part=part, value=value: part.ping(value)))  # type: ignore[misc]
        return pings

    async def close(self) -> None:
        """Clean up in reverse; what fails is logged and keeps nothing else from being cleaned up, nor does a cancellation."""
        steps = list(reversed(self._closers))
        self._closers.clear()
        self._made.clear()
        await do_all(steps, failed=_failed)

    async def __aenter__(self) -> Self:
        """Return the container."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Clean up."""
        await self.close()

    def __del__(self) -> None:
        if getattr(self, "_closers", None):
            warnings.warn("container was dropped with parts to clean up: close() it", ResourceWarning, stacklevel=1)

    def _make(self, part: Part) -> None:
        if part.title in self._making:
            raise LookupError(f"expected parts without a circle, got {' -> '.join([*self._making, part.title])}")
        self._making.append(part.title)
        try:
            self._keep(part, part.factory(self))
        finally:
            self._making.pop()

    def _keep(self, part: Part, value: Any) -> None:
        self.put(part.kind, value, name=part.name, stop=part.stop)

    def _part(self, kind: type[Any], name: str) -> Part | None:
        try:
            return self._registry.part(kind, name)
        except LookupError:
            return None


def _failed(title: str, exc: Exception) -> None:
    _log.error("Part of a scope failed to stop", context={"part": title, **where(exc)})
