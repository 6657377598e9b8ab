"""Both tiers of a cache together: what is found where, what is kept where, and what is forgotten when others change it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.cache_core.flights import Flights
from infrastructure.core.cache_core.listener import Listener
from infrastructure.core.cache_core.memory import Entry, Memory
from infrastructure.core.cache_core.names import Name, Names
from infrastructure.core.cache_core.reads import UNANSWERED
from infrastructure.core.cache_core.remote import REFUSED, Remote
from infrastructure.core.cache_core.scopes import Scope
from infrastructure.core.cache_core.stats import Stats
from infrastructure.core.logger_core import CoreLogger
from infrastructure.core.performance_core.histogram import spread

SWEEP_S = 5.0
SWEPT_AT_ONCE = 1_000


@dataclass(slots=True)  # not frozen: that would make it three times as slow, and this is made for every get
class Hit:
    """A value that was found, where, how old it is and how long it lives on (seconds)."""

    payload: bytes
    tier: str
    age_s: float
    left_s: float


class Tiers:
    """Memory in front, Redis behind, and the listener that keeps the memory true."""

    def __init__(
        self,
        *,
        redis: Redis | None,
        names: Names,
        memory: Memory,
        patience_s: float,
        hold_s: float,
        keep_remote: bool,
        clock: Callable[[], float],
        log: CoreLogger,
    ) -> None:
        self._redis = redis
        self._names = names
        self._memory = memory
        self._clock = clock
        self._log = log
        self._remote = None if redis is None else Remote(redis, names, patience_s=patience_s, hold_s=hold_s, log=log)
        self._keep_remote = keep_remote and self._remote is not None
        self._listener: Listener | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.flights = Flights()
        self.stats = Stats()

    def begin(self) -> None:
        """Begin to hear other processes, and to sweep; on a running event loop."""
        if self._tasks:
            return
        self._tasks = [asyncio.create_task(self._sweep(), name="cache-sweep")]
        if self._remote is not None:
            self._remote.circuit.start()
        if self._redis is not None and self._remote is not None:
            self._listener = Listener(
                self._redis,
                self._names.log,
                on_change=self._hear,
                on_gap=self._forget_all,
                on_failure=self._remote.circuit.trip,
                clock=self._clock,
                log=self._log,
            )
            self._tasks.append(asyncio.create_task(self._listener.listen(), name="cache-listener"))

    async def close(self) -> None:
        """End what runs in the background."""
        await end_tasks(self._tasks)
        self._tasks, self._listener = [], None
        if self._remote is not None:
            await self._remote.close()

    @property
    def listening(self) -> bool:
        """Say whether changes of other processes are heard now."""
        return self._listener is not None and self._clock() < self._listener.believed_until

    async def find(self, name: Name) -> Hit | None:
        """Return what is kept under a name, from the first tier that has it."""
        began = time.perf_counter()
        entry = self._memory.get(name)
        if entry is not None and self._believes_memory():
            return self._hit(entry, began)
        found, answered = await self._fetch(name) if self._keep_remote else (None, True)
        if found is not None:
            self.stats.hit("l2", latency_ms=(time.perf_counter() - began) * 1_000, age_s=found.age_s)
            return found
        gone = entry is not None and (self._away() or not answered)
        if gone and (entry := self._memory.get(name)) is not None:
            return self._hit(entry, began)  # Redis went away while it was asked, or is about to be found away
        self.stats.miss(latency_ms=(time.perf_counter() - began) * 1_000)
        return None

    def _hit(self, entry: Entry, began: float) -> Hit:
        now = self._clock()
        hit = Hit(entry.payload, "l1", now - entry.written, entry.until - now)
        self.stats.hit("l1", latency_ms=(time.perf_counter() - began) * 1_000, age_s=hit.age_s)
        return hit

    def _believes_memory(self) -> bool:
        """Say whether L1 may be served: nobody listens, others are heard, or Redis is away so that nobody can be."""
        listener = self._listener
        return listener is None or self._clock() < listener.believed_until or self._away()

    def _away(self) -> bool:
        return self._remote is not None and self._remote.circuit.open

    async def _fetch(self, name: Name) -> tuple[Hit | None, bool]:
        """Read from Redis and keep in memory, for no longer than it lives there; say whether Redis answered."""
        assert self._remote is not None  # noqa: S101
        with self.flights.over(name) as flight:
            found = await self._remote.read(name)
            if found is None or found is UNANSWERED:
                return None, found is None
            if found.payload is None:
                self.stats.damaged += 1
                return None, True
            if flight.lets(found.stamp):
                self._put(name, found.payload, age_s=found.age_s, left_s=found.left_s, stamp=found.stamp)
            return Hit(found.payload, "l2", found.age_s, found.left_s), True

    async def last_change(self) -> bytes | None:
        """Return the last change of all, for `keep`, which writes nothing to a Redis that did not tell; None without Redis."""
        return await self._remote.last_change() if self._keep_remote and self._remote is not None else None

    async def keep(self, name: Name, payload: bytes, ttl_s: float, *, since: bytes | None = None) -> bool:
        """Keep a payload in both tiers, unless anybody changed the value after `since`; False when neither took it."""
        self.stats.sets += 1
        if not self._keep_remote or self._remote is None:
            return self._put(name, payload, left_s=ttl_s)
        with self.flights.over(name) as flight:
            stamp = await self._remote.write(name, payload, ttl_ms=math.ceil(ttl_s * 1_000), since=since)
            if stamp == REFUSED:
                return False
            if not flight.lets(stamp):
                return stamp is not None
            if stamp is not None:
                flight.touch(stamp)  # a read that began before must not put the older value back
            return self._put(name, payload, left_s=ttl_s, stamp=stamp) or stamp is not None

    async def forget(self, scope: Scope) -> bool:
        """Forget a scope here at once and, when it returns True, for every later read of Redis by anyone."""
        if scope.namespace is not None and scope.key is not None:
            self._memory.drop((scope.namespace, scope.key))
            self.flights.touch((scope.namespace, scope.key))
        else:
            self._memory.drop_where(scope.holds)
            self.flights.touch_where(scope.holds)
        return self._remote is None or await self._remote.forget(scope) is not None

    def _put(
        self, name: Name, payload: bytes, *, left_s: float, age_s: float = 0.0, stamp: bytes | None = None
    ) -> bool:
        now = self._clock()
        return self._memory.put(name, Entry(payload, written=now - age_s, until=now + left_s, stamp=stamp))

    def _hear(self, scope: Scope, entry_id: bytes) -> None:
        """Forget what somebody changed; but what we hold may be that very change, our own or one already read."""
        if scope.key is None:
            self.stats.heard += self._memory.drop_where(scope.holds)
            self.flights.touch_where(scope.holds)
            return
        name = (scope.namespace or "", scope.key)
        entry = self._memory.peek(name)
        if entry is not None and entry.stamp != entry_id:
            self._memory.drop(name)
            self.stats.heard += 1
        self.flights.touch(name, entry_id)

    def _forget_all(self) -> None:
        """Forget all of memory: nobody knows what was missed."""
        self.stats.gaps += 1
        self._memory.clear()
        self.flights.touch_where(Scope().holds)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            names = tuple(self._memory.names())
            for start in range(0, len(names), SWEPT_AT_ONCE):
                self._memory.drop_expired(names[start : start + SWEPT_AT_ONCE])
                await asyncio.sleep(0)

    def figures(self, *, buckets: bool = False) -> dict[str, Any]:
        """Return what happened since the start; times in ms, ages too, with `buckets` as histograms that merge."""
        memory, stats, remote = self._memory, self.stats, self._remote
        state = "none" if remote is None else "away" if remote.circuit.open else "there"
        return {
            **stats.hits(),
            "latency": {tier: spread(values, buckets=buckets) for tier, values in stats.latency.items()},
            "efficiency": {"saved_ms": stats.saved_ms()},
            "size": {
                "entries": len(memory), "max_entries": memory.max_entries,
                "bytes": memory.bytes, "max_bytes": memory.max_bytes,
            },
            "evictions": {"evicted": memory.counts.evicted, "not_admitted": memory.counts.refused},
            "ttl": {
                "expired": memory.counts.expired,
                "expired_unread": memory.counts.expired_unread, "age_at_hit": spread(stats.age, buckets=buckets),
            },
            "changes": {
                "sets": stats.sets, "deletes": stats.deletes, "invalidations": stats.invalidations,
                "refused": stats.refused, "heard": stats.heard, "gaps": stats.gaps, "listening": self.listening,
            },
            "redis": {
                "state": state, "damaged": stats.damaged,
                **(asdict(remote.troubles) | {"outages": remote.circuit.outages} if remote else {}),
            },
        }  # fmt: skip
