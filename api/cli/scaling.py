"""Auto-scaling under `ai-provider up`: each kind's worker processes follow the depth and the age of its queue."""

from __future__ import annotations

import asyncio
import copy
import math
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from api.cli.child import Child, Say
from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import StoreError
from infrastructure.core.redis_core import connect
from infrastructure.optional.container_core import Bounds, Scaler
from infrastructure.optional.event_core import EventBus, Publisher
from workers.jobs import topics
from workers.jobs.load import Load, loads
from workers.jobs.store.job_store import JobStore

LOOK_EVERY_S = 1.0
HOLD_S = 300.0
"""How long no more are started after one could not be kept, such as for want of memory."""
CONNECTIONS = 4
Look = Callable[[], Awaitable[dict[str, Load]]]


class Crew(Protocol):
    """The worker processes of one kind, which somebody starts and ends."""

    @property
    def kind(self) -> str:
        """Return the kind, as the queue is called."""

    @property
    def children(self) -> tuple[Child, ...]:
        """Return the processes, oldest first."""

    async def add(self) -> None:
        """Start one more."""

    async def end(self, child: Child) -> None:
        """Have one drain and end, and do not start it again."""

    async def drop_given_up(self) -> int:
        """Let go of those that could not be kept; return how many they were."""


class Autoscaler:
    """Looks once a second and takes one step at a time.

    The process that goes is the one with the fewest jobs; while it still has some it is left alone for up to `patience_s`
    seconds, since a call that is cut short is paid twice.
    """

    def __init__(
        self,
        crew: Crew,
        scaler: Scaler,
        *,
        store: JobStore,
        look: Look,
        say: Say,
        events: Publisher,
        patience_s: float,
        host: str | None = None,
    ) -> None:
        self._crew = crew
        self._scaler = scaler
        self._store = store
        self._look = look
        self._say = say
        self._events = events
        self._patience_s = patience_s
        self._host = socket.gethostname() if host is None else host
        self._busy_since: float | None = None
        self._hold_until_s = -math.inf
        self._failure = ""

    async def run(self) -> None:
        """Look and step until cancelled; while Redis is away nothing changes."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.step(now_s=time.monotonic())
            except StoreError:
                continue
            except Exception as exc:  # noqa: BLE001  the processes that there are go on, and so does the next look
                self._tell_failure(type(exc).__name__)
            else:
                self._failure = ""

    async def step(self, *, now_s: float) -> None:
        """Look once, and start or end what that asks for.

        Raises:
            StoreError: Redis did not answer.
        """
        load = (await self._look())[self._crew.kind]
        if await self._crew.drop_given_up():
            self._hold_until_s = now_s + HOLD_S
        before = len(self._crew.children)
        trial = copy.copy(self._scaler)  # kept only when its step is taken
        wanted = trial.decide(before, load.figures, now_s=now_s)
        if wanted < before:
            held = await self._held()
            if min(held.values()) > 0 and self._patient(now_s):
                return
            self._adopt(trial)
            await self._shrink(held, load)
            return
        if wanted > before and now_s < self._hold_until_s:
            return
        self._adopt(trial)
        if wanted > before:
            await self._grow(wanted, load)

    def _tell_failure(self, error_type: str) -> None:
        """Say once what keeps the number of processes from following."""
        if error_type != self._failure:
            self._failure = error_type
            self._say("up", f"{self._crew.kind}: the number of workers cannot follow the queue now ({error_type})")

    def _adopt(self, trial: Scaler) -> None:
        self._scaler, self._busy_since = trial, None

    def _patient(self, now_s: float) -> bool:
        if self._busy_since is None:
            self._busy_since = now_s
        return now_s - self._busy_since < self._patience_s

    async def _grow(self, wanted: int, load: Load) -> None:
        before = len(self._crew.children)
        self._tell(load, before, wanted)
        for _ in range(wanted - before):
            await self._crew.add()

    async def _shrink(self, held: dict[Child, int], load: Load) -> None:
        before = len(held)
        self._tell(load, before, before - 1)
        # Of those with as few jobs the youngest: the oldest keeps the plain name.
        await self._crew.end(min(reversed(self._crew.children), key=lambda child: held[child]))

    async def _held(self) -> dict[Child, int]:
        """Return how many jobs each process has; none for one that the store does not know (yet)."""
        by_pid = {_pid(owner): count for owner, count in (await self._store.owners()).items() if self._is_here(owner)}
        return {child: by_pid.get(child.pid, 0) for child in self._crew.children}

    def _is_here(self, owner: str) -> bool:
        """Say whether an owner is of our kind and machine: elsewhere process ids mean others."""
        return owner.startswith(f"{self._crew.kind}@{self._host}.")

    def _tell(self, load: Load, before: int, workers: int) -> None:
        figures = load.figures
        self._say(
            "up",
            f"{load.kind}: {figures.ready} waiting, oldest {figures.oldest_age_s:.1f} s, {figures.running} running: "
            f"{before} to {workers} {'worker' if workers == 1 else 'workers'}",
        )
        self._events.publish(topics.FLEET_SCALED, {"kind": load.kind, "before": before, "workers": workers})


async def keep_scaled(
    crews: Sequence[Crew], bounds: Mapping[str, Bounds], *, settings: Settings, redis_url: str, say: Say
) -> None:
    """Have every crew follow its queue until cancelled."""
    started_s = time.monotonic()
    async with connect(redis_url, max_connections=CONNECTIONS) as redis:
        prefix = settings.redis.prefix
        store = JobStore(redis, prefix=prefix, lease_s=settings.jobs.lease_s)
        events = EventBus(f"up@{socket.gethostname()}.{os.getpid()}", redis=redis, prefix=prefix)
        scalers = [
            Autoscaler(
                crew,
                Scaler(bounds[crew.kind], started_s),
                store=store,
                look=lambda: loads(store, settings),
                say=say,
                events=events,
                patience_s=settings.worker.drain_s,
            )
            for crew in crews
        ]
        events.start()
        try:
            await asyncio.gather(*(scaler.run() for scaler in scalers))
        finally:
            await events.stop()


def _pid(owner: str) -> int:
    """Return the process id in an owner's name: kind@host.pid.random."""
    words = owner.rsplit(".", 2)
    return int(words[1]) if len(words) == 3 and words[1].isdigit() else 0  # noqa: PLR2004
