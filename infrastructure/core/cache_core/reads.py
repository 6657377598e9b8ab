"""Reading from Redis: what many ask for in the same moment is asked in one go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

from redis.asyncio import Redis

from infrastructure.core.asyncio_core import end_tasks, wait_free
from infrastructure.core.cache_core.circuit import FAILURES
from infrastructure.core.cache_core.envelope import Damaged, open_sealed
from infrastructure.core.cache_core.names import Name, Names
from infrastructure.core.cache_core.scopes import Marks

BATCH = 256
AT_ONCE = 4
AHEAD_MS = 1_000


@dataclass(frozen=True, slots=True)
class Read:
    """A value from Redis, or word that it is damaged (`payload` is None)."""

    payload: bytes | None
    stamp: bytes = b""
    age_s: float = 0.0
    left_s: float = 0.0


Found: TypeAlias = Read | None
Asked: TypeAlias = Awaitable[list[Found]]
Ask: TypeAlias = Callable[[Sequence[Name]], Asked]
Bound: TypeAlias = Callable[[Asked], Asked]


UNANSWERED = Read(None)
"""Redis has not told (yet) whether there is a value."""


class Reads:
    """Reads in batches: at most four at once, of at most 256 names, so that 2,000 who ask together need eight questions.

    `bounded` limits the time of a batch; `patience_s` that of one who waits, also while batches before his are under way:
    what comes too late for him says nothing of Redis.
    """

    def __init__(self, ask: Ask, bounded: Bound, *, patience_s: float) -> None:
        self._ask = ask
        self._bounded = bounded
        self._patience_s = patience_s
        self._waiting: dict[Name, list[asyncio.Future[Found]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self, name: Name) -> Found:
        """Return what is kept under a name; None when there is nothing or Redis failed.

        Raises:
            TimeoutError: it takes too long.
        """
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(future)
        if len(self._tasks) < AT_ONCE:
            task = asyncio.create_task(self._run(), name="cache-reads")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await wait_free(future, self._patience_s)

    async def close(self) -> None:
        """End the batches under way; those who wait for them find nothing."""
        await end_tasks(self._tasks)
        for futures in self._waiting.values():
            _tell(futures, None)
        self._waiting.clear()

    async def _run(self) -> None:
        while self._waiting:
            batch = {name: self._waiting.pop(name) for name in tuple(islice(self._waiting, BATCH))}
            found: list[Found] = [None] * len(batch)
            try:
                found = await self._bounded(self._ask(tuple(batch)))
            except FAILURES:
                self._fail_waiting()
            finally:
                for futures, one in zip(batch.values(), found, strict=True):
                    _tell(futures, one)

    def _fail_waiting(self) -> None:
        """Let nobody wait for a Redis that has just failed."""
        for futures in self._waiting.values():
            _tell(futures, None)
        self._waiting.clear()


def _tell(futures: list[asyncio.Future[Found]], found: Found) -> None:
    for future in futures:
        if not future.done():
            future.set_result(found)


class Batch:
    """One question to Redis: its time, the last mark, and the values."""

    def __init__(self, redis: Redis, names: Names, marks: Marks) -> None:
        self._redis = redis
        self._names = names
        self._marks = marks

    async def __call__(self, wanted: Sequence[Name]) -> list[Found]:
        """Return what is kept under each name."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        pipe.mget([self._names.marked, *map(self._names.entry, wanted)])
        (seconds, micros), (marked, *raws) = await pipe.execute()
        if marked is not None and marked != self._marks.known:
            self._marks.learn(marked, await self._redis.hgetall(self._names.marks))
        now_ms = int(seconds) * 1_000 + int(micros) // 1_000
        return [self._open(name, raw, now_ms) for name, raw in zip(wanted, raws, strict=True)]

    def _open(self, name: Name, raw: bytes | None, now_ms: int) -> Found:
        if raw is None:
            return None
        try:
            opened = open_sealed(name, raw)
            hidden = self._marks.hide(name, opened.stamp)
        except Damaged:
            return Read(None)
        age_ms = max(0, now_ms - opened.written_ms)
        left_ms = opened.ttl_ms - age_ms
        if opened.written_ms - now_ms > AHEAD_MS:  # Redis's clock was set back: only Redis knows when its time is over
            left_ms = min(left_ms, AHEAD_MS)
        if hidden or left_ms <= 0:
            return None
        return Read(opened.payload, opened.stamp, age_ms / 1_000, left_ms / 1_000)
