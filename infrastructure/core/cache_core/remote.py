"""The cache in Redis (L2): what is read and written there, never waiting for long."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from infrastructure.core.asyncio_core import within
from infrastructure.core.cache_core import scripts
from infrastructure.core.cache_core.changes import Change, Changes
from infrastructure.core.cache_core.circuit import FAILURES, Circuit
from infrastructure.core.cache_core.envelope import seal
from infrastructure.core.cache_core.names import Name, Names
from infrastructure.core.cache_core.reads import Batch, Read, Reads
from infrastructure.core.cache_core.scopes import Marks, Scope, mark_name
from infrastructure.core.logger_core import CoreLogger

T = TypeVar("T")

MAX_TTL_MS = 604_800_000
REFUSED = b""
_START = b"0-0"
OWED = 1_000
"""Changes remembered for a Redis that is away; with more, all that it holds is given up when it is back."""


@dataclass(slots=True)
class Troubles:
    """What went wrong in L2 since the start."""

    failed: int = 0
    skipped: int = 0
    """Reads and changes that were not tried, since Redis is away."""
    impatient: int = 0
    """Reads that were given up, and changes that nobody waited for any longer, while Redis answered others."""


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
        self._changes = Changes(redis, bounded=self._bounded, on_failure=self._owe, patience_s=patience_s)
        self._owed: set[Scope] = set()
        self._paying = False
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

    async def last_change(self) -> bytes | None:
        """Return the newest entry in the log; None when Redis does not tell."""
        if self.circuit.open:
            return None
        try:
            newest: Any = await self._bounded(self._redis.xrevrange(self._names.log, count=1))
        except FAILURES:
            return None
        return newest[0][0] if newest else _START

    async def write(self, name: Name, payload: bytes, *, ttl_ms: int, since: bytes | None = None) -> bytes | None:
        """Keep a value and tell everybody; return the change's entry in the log, None when it could not be done.

        With `since`, an entry in the log: not when the value was changed after it, and then `REFUSED` is returned.
        """
        scope = Scope(name[0], name[1])
        digest, rest = seal(name, payload, ttl_ms)
        arguments: list[int | bytes] = [ttl_ms, digest, rest, since or b"", *scope.fields()]
        keys = [self._names.log, self._names.entry(name)]
        try:
            return await self._change(Change(scope, scripts.WRITE, keys, arguments))
        except OutOfMemoryError:
            await self.forget(scope)
            return None

    async def forget(self, scope: Scope) -> bytes | None:
        """Forget a scope's values and tell everybody; the entry in the log, None when it could not be done."""
        return await self._change(self._forgetting(scope))

    async def close(self) -> None:
        """End what runs in the background."""
        await self.circuit.close()
        await self._reads.close()
        await self._changes.close()

    def _forgetting(self, scope: Scope) -> Change:
        names = self._names
        if scope.key is not None and scope.namespace is not None:
            entry = names.entry((scope.namespace, scope.key))
            return Change(scope, scripts.DELETE, [names.log, entry], [*scope.fields()])
        keys = [names.log, names.marks, names.marked]
        return Change(scope, scripts.MARK, keys, [MAX_TTL_MS, mark_name(scope), *scope.fields()])

    async def _change(self, change: Change) -> bytes | None:
        if self.circuit.open and not self._paying:
            self.troubles.skipped += 1
            self._owe(change.scope)
            return None
        try:
            answer = await self._changes.make(change)
        except TimeoutError:
            self.troubles.impatient += 1
            return None
        if isinstance(answer, OutOfMemoryError):
            self.troubles.failed += 1
            raise answer
        return answer

    async def _alone(self, change: Change) -> None:
        asked: Any = self._redis.eval(change.script, len(change.keys), *change.keys, *change.args)
        await asked

    async def _bounded(self, work: Awaitable[T]) -> T:
        """Return what Redis answers; a failure opens the circuit."""
        try:
            return await within(work, self._patience_s)
        except FAILURES as exc:
            self.troubles.failed += 1
            self.circuit.trip(exc)
            raise

    def _owe(self, scope: Scope) -> None:
        self._owed.add(scope)
        if len(self._owed) > OWED:
            self._owed = {Scope()}

    async def _pay(self) -> None:
        """See that Redis is there, and do what is owed. What is changed meanwhile is not owed any more, but done at once."""
        await self._redis.ping()
        self._paying = True
        try:
            while self._owed:
                scope = self._owed.pop()  # before it is paid: it may come to be owed again meanwhile
                try:
                    await self._alone(self._forgetting(scope))
                except BaseException:
                    self._owe(scope)
                    raise
        finally:
            self._paying = False
