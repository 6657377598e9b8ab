"""The cache in Redis (L2): what is read and written there, never waiting for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from infrastructure.core.cache_core import scripts
from infrastructure.core.cache_core.circuit import FAILURES, Circuit
from infrastructure.core.cache_core.envelope import seal
from infrastructure.core.cache_core.names import Name, Names
from infrastructure.core.cache_core.reads import Batch, Read, Reads
from infrastructure.core.cache_core.scopes import Marks, Scope, mark_name
from infrastructure.core.logger_core import CoreLogger

T = TypeVar("T")

MAX_TTL_MS = 604_800_000
OWED = 1_000
"""Changes remembered for a Redis that is away; with more, all that it holds is given up when it is back."""


@dataclass(slots=True)
class Troubles:
    """What went wrong in L2 since the start."""

    failed: int = 0
    skipped: int = 0
    """Reads and changes that were not tried, since Redis is away."""
    impatient: int = 0
    """Reads that were given up because they took too long, while Redis answered others."""


class Remote:
    """Values in Redis. No method raises for Redis, and none waits for longer than `patience_s` seconds.

    What could not be changed there is owed: when Redis is back, those values are deleted before any is read, so that an
    older value does not come back to life (while the process lives: what it owes dies with it, and TTLs bound the rest).
    """

    def __init__(self, redis: Redis, names: Names, *, patience_s: float, log: CoreLogger) -> None:
        self._redis = redis
        self._names = names
        self._patience_s = patience_s
        self._marks = Marks()
        self._reads = Reads(Batch(redis, names, self._marks), self._bounded, patience_s=patience_s)
        self._write, self._delete, self._mark = map(
            redis.register_script, (scripts.WRITE, scripts.DELETE, scripts.MARK)
        )
        self._owed: set[Scope] = set()
        self.circuit = Circuit(self._pay, log=log)
        self.troubles = Troubles()

    async def read(self, name: Name) -> Read | None:
        """Return what is kept under a name; None when there is nothing, or Redis does not tell."""
        if self.circuit.open:
            self.troubles.skipped += 1
            return None
        try:
            return await self._reads.read(name)
        except TimeoutError:
            self.troubles.impatient += 1
            return None

    async def write(self, name: Name, payload: bytes, *, ttl_ms: int) -> bytes | None:
        """Keep a value and tell everybody; return the change's entry in the log, None when it could not be done."""
        scope = Scope(name[0], name[1])
        digest, rest = seal(name, payload, ttl_ms)
        arguments: list[int | bytes] = [ttl_ms, digest, rest, *scope.fields()]
        keys = [self._names.log, self._names.entry(name)]
        try:
            return await self._change(partial(self._write, keys=keys, args=arguments), scope)
        except OutOfMemoryError:
            await self.forget(scope)
            return None

    async def forget(self, scope: Scope) -> bytes | None:
        """Forget a scope's values and tell everybody; the entry in the log, None when it could not be done."""
        return await self._change(partial(self._forget, scope), scope)

    async def close(self) -> None:
        """End what runs in the background."""
        await self.circuit.close()
        await self._reads.close()

    def _forget(self, scope: Scope) -> Awaitable[Any]:
        names = self._names
        if scope.key is not None and scope.namespace is not None:
            entry = names.entry((scope.namespace, scope.key))
            return self._delete(keys=[names.log, entry], args=scope.fields())
        return self._mark(
            keys=[names.log, names.marks, names.marked], args=[MAX_TTL_MS, mark_name(scope), *scope.fields()]
        )

    async def _change(self, script: Callable[[], Awaitable[Any]], scope: Scope) -> bytes | None:
        if self.circuit.open:
            self.troubles.skipped += 1
            self._owe(scope)
            return None
        try:
            entry_id: bytes = await self._bounded(script())
        except OutOfMemoryError:
            raise
        except FAILURES:
            self._owe(scope)
            return None
        return entry_id

    async def _bounded(self, work: Awaitable[T]) -> T:
        """Return what Redis answers; a failure opens the circuit."""
        try:
            async with asyncio.timeout(self._patience_s):
                return await work
        except OutOfMemoryError:
            self.troubles.failed += 1
            raise
        except FAILURES as exc:
            self.troubles.failed += 1
            self.circuit.trip(exc)
            raise

    def _owe(self, scope: Scope) -> None:
        self._owed.add(scope)
        if len(self._owed) > OWED:
            self._owed = {Scope()}

    async def _pay(self) -> None:
        """See that Redis is there, and do what is owed."""
        await self._redis.ping()
        for scope in tuple(self._owed):
            await self._forget(scope)
            self._owed.discard(scope)
