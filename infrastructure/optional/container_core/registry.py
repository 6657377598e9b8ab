"""The registry of a process: which parts it has, made once, started in order, stopped in the reverse of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self, TypeVar

from infrastructure.core.logger_core import CoreLogger, get_logger, where
from infrastructure.optional.container_core.container import Container
from infrastructure.optional.container_core.parts import Lifetime, Part, Ping, Recovery, Resolver, Step, do, do_all
from infrastructure.optional.container_core.recovery import Keeper

T = TypeVar("T")
Key = tuple[type[Any], str]


class Registry:
    """Lives with the process. Used on one event loop; an async context manager that starts and stops everything.

    Parts that live as long as the process are made when they are asked for first, a factory asking for what it needs, so
    that they stand in an order in which each comes after what it depends on: in this order they are started.
    """

    def __init__(self, *, log: CoreLogger | None = None) -> None:
        self._log = log or get_logger("infrastructure", "container")
        self._parts: dict[Key, Part] = {}
        self._made: dict[Key, Any] = {}
        self._making: list[str] = []
        self._started: list[Key] = []
        self._keeper = Keeper(self._log)

    def register(
        self,
        kind: type[T],
        factory: Callable[[Resolver], T],
        *,
        name: str = "",
        lifetime: Lifetime = Lifetime.PROCESS,
        start: Step | None = None,
        stop: Step | None = None,
        ping: Step | None = None,
        lives: Step | None = None,
        recovery: Recovery | None = None,
    ) -> None:
        """Add a part under its type, and a name where there are several of the type.

        Args:
            kind: what it is asked for by.
            factory: makes it from the parts that it asks the resolver for.
            name: also its name in health answers and logs.
            lifetime: the process, or one container.
            start: begins its work; may be awaited; at most 30 s.
            stop: ends it; at most 30 s.
            ping: raises when the part is not well.
            lives: what recovery asks, where `ping` also fails for what a restart does not mend; `ping` where it is None.
            recovery: how it is mended when it does not live; needs `start`, `stop`, and `ping` or `lives`.

        Raises:
            ValueError: the type and name are taken, or recovery is asked for without what it needs.
        """
        if (kind, name) in self._parts:
            raise ValueError(f"expected one part {kind.__name__} {name!r}, got a second")
        if recovery is not None and not (start and stop and (lives or ping) and lifetime is Lifetime.PROCESS):
            raise ValueError(f"expected start, stop and ping of {kind.__name__}, got a recovery without them")
        self._parts[kind, name] = Part(
            kind=kind, name=name, factory=factory, lifetime=lifetime,
            start=start, stop=stop, ping=ping, lives=lives, recovery=recovery,
        )  # fmt: skip

    def register_value(
        self,
        kind: type[T],
        value: T,
        *,
        name: str = "",
        start: Step | None = None,
        stop: Step | None = None,
        ping: Step | None = None,
        lives: Step | None = None,
        recovery: Recovery | None = None,
    ) -> T:
        """Add a part that is made already, and return it; see `register`."""
        self.register(
            kind, lambda _: value, name=name, start=start, stop=stop, ping=ping, lives=lives, recovery=recovery
        )  # fmt: skip
        return self.get(kind, name)

    def get(self, kind: type[T], name: str = "") -> T:
        """Return a part of the process, made when it is asked for first.

        Raises:
            LookupError: there is none, or it lives in containers only, or it needs itself.
        """
        key = (kind, name)
        if key not in self._made:
            self._make(self.part(kind, name))
        value: T = self._made[key]
        return value

    def part(self, kind: type[Any], name: str = "") -> Part:
        """Return a registration.

        Raises:
            LookupError: there is none.
        """
        try:
            return self._parts[kind, name]
        except KeyError:
            raise LookupError(f"expected a part {kind.__name__} {name!r} to be registered, got none") from None

    def container(self) -> Container:
        """Return a container for one request or job."""
        return Container(self)

    def get_pings(self) -> list[Ping]:
        """Return a ping for each part of the process that has one, in order of registration."""
        return [
            Ping(part.title, lambda part=part, key=key: part.ping(self.get(*key)))  # type: ignore[misc]
            for key, part in self._parts.items()
            if part.ping is not None and part.lifetime is Lifetime.PROCESS
        ]

    def get_metrics(self) -> dict[str, Any]:
        """Return how many parts there are, how many are started, and the restarts of each that was mended."""
        return {"parts": len(self._parts), "started": len(self._started), **self._keeper.get_metrics()}

    async def start(self) -> None:
        """Make every part of the process, and start each that can be.

        Raises:
            RuntimeError: it is started already.
            Exception: the first failure of a factory or a start; what was started before is stopped again, and what
                needs no start but was made.
        """
        if self._started:
            raise RuntimeError("expected a registry that is not started, got a second start")
        try:
            for (kind, name), part in list(self._parts.items()):
                if part.lifetime is Lifetime.PROCESS:
                    self.get(kind, name)
            for key in list(self._made):
                await do(self._parts[key].start, self._made[key])
                self._started.append(key)
        except BaseException:
            self._started = [key for key in self._made if key in self._started or self._parts[key].start is None]
            await self.stop()
            raise
        self._keeper.start([(self._parts[key], self._made[key]) for key in self._started])

    async def stop(self) -> None:
        """Stop what was started, in reverse; one that fails is logged and keeps none of the others from being stopped.

        Nor does a cancellation of the caller, which takes effect when all have been asked to stop.
        """
        await self._keeper.stop()
        started, self._started = self._started, []
        steps = [
            (self._parts[key].title, self._parts[key].stop, self._made[key]) for key in reversed(started)
        ]  # fmt: skip
        await do_all(
            steps,
            failed=lambda title, exc: self._log.error("Part failed to stop", context={"part": title, **where(exc)}),
        )

    async def __aenter__(self) -> Self:
        """Start everything."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything."""
        await self.stop()

    def __del__(self) -> None:
        if getattr(self, "_started", None):
            warnings.warn("registry was dropped with parts that run: stop() it", ResourceWarning, stacklevel=1)

    def _make(self, part: Part) -> None:
        if part.lifetime is Lifetime.SCOPE:
            raise LookupError(
                f"expected {part.title} to be asked of a container, got the registry: it lives in one scope"
            )
        if part.title in self._making:
            chain = " -> ".join([*self._making, part.title])
            raise LookupError(f"expected parts without a circle, got {chain}")
        self._making.append(part.title)
        try:
            self._made[part.kind, part.name] = part.factory(self)
        finally:
            self._making.pop()
