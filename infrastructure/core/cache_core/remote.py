"""The cache in Redis (L2): what is read and written there, never waiting for long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from infrastructure.core.asyncio_core import within, within_free
from infrastructure.core.cache_core import scripts
from infrastructure.core.cache_core.changes import Change, Changes
from infrastructure.core.cache_core.circuit import FAILURES, Circuit
from infrastructure.core.cache_core.debts import Debts, Troubles
from infrastructure.core.cache_core.envelope import seal
from infrastructure.core.cache_core.names import Name, Names
from infrastructure.core.cache_core.reads import UNANSWERED, Batch, Read, Reads
from infrastructure.core.cache_core.scopes import Marks, Scope, mark_name
from infrastructure.core.logger_core import CoreLogger

T = TypeVar("T")

MAX_TTL_MS = 604_800_000
REFUSED = b""
_START = b"0-0"
UNTOLD = b"?"
"""In place of an entry in the log: Redis did not tell its last one, so nothing is written that must not be older."""
ANSWER_S = 1.0
"""A Redis that says nothing for this long, while the loop is free, is away."""
FLUSH_S = 2.0
"""Longest that `close` waits for what is still to be written."""


class Remote:
    """Values in Redis. No method raises for Redis, and none waits for longer than `patience_s` seconds.

    Whoever asks is impatient, Redis is not blamed for it: a change goes on behind him, and only a Redis that says nothing
    for a whole second, or fails, is held to be away.

    What could not be changed there is owed: when Redis is back, those values are deleted before any is read, so that an
    older value does not come back to life (while the process lives: what it owes dies with it, and TTLs bound the rest).
    With `hold_s`, a value that was to be kept is sent again when Redis is back within so many seconds, in place of that:
    for values that nobody else would change meanwhile. Its ttl begins when Redis takes it.
    """

    def __init__(self, redis: Redis, names: Names, *, patience_s: float, hold_s: float = 0.0, log: CoreLogger) -> None:
        self._redis = redis
        self._names = names
        self._patience_s = patience_s
        self._marks = Marks()
        self._reads = Reads(Batch(redis, names, self._marks), self._bounded, patience_s=patience_s)
        self._hold_s = hold_s
        self._paying = False
        self.circuit = Circuit(self._pay, log=log)
        self.troubles = Troubles()
        self.debts = Debts(self.troubles, clock=_now, log=log)
        self._changes = Changes(redis, bounded=self._bounded, on_failure=self.debts.add, patience_s=patience_s)

    async def read(self, name: Name) -> Read | None:
        """Return what is kept under a name; None when there is nothing, or Redis is away; `UNANSWERED` while it is silent."""
        if self.circuit.open:
            self.troubles.skipped += 1
            return None
        try:
            return await self._reads.read(name)
        except TimeoutError:
            self.troubles.impatient += 1
            return UNANSWERED

    async def last_change(self) -> bytes | None:
        """Return the newest entry in the log; `UNTOLD` when Redis does not tell."""
        if self.circuit.open:
            return UNTOLD
        try:
            newest: Any = await within_free(self._redis.xrevrange(self._names.log, count=1), self._patience_s)
        except TimeoutError:
            self.troubles.impatient += 1
            return UNTOLD
        except FAILURES as exc:
            self._fail(exc)
            return UNTOLD
        return newest[0][0] if newest else _START

    async def write(self, name: Name, payload: bytes, *, ttl_ms: int, since: bytes | None = None) -> bytes | None:
        """Keep a value and tell everybody; return the change's entry in the log, None when it could not be done (yet).

        With `since`, an entry in the log: not when the value was changed after it, and then `REFUSED` is returned.
        """
        if since == UNTOLD:
            self.troubles.skipped += 1
            return None
        scope = Scope(name[0], name[1])
        digest, rest = seal(name, payload, ttl_ms)
        arguments: list[int | bytes] = [ttl_ms, digest, rest, since or b"", *scope.fields()]
        keys = [self._names.log, self._names.entry(name)]
        until = _now() + min(self._hold_s, ttl_ms / 1_000)
        if self._changes.full:
            await self._refuse(scope)
            return None
        try:
            return await self._change(Change(scope, scripts.WRITE, keys, arguments, until))
        except OutOfMemoryError:
            await self._refuse(scope)
            return None

    async def forget(self, scope: Scope) -> bytes | None:
        """Forget a scope's values and tell everybody; the entry in the log, None when it could not be done."""
        return await self._change(self._forgetting(scope))

    async def close(self) -> None:
        """End what runs in the background, when what is to be written is in Redis or its time is over."""
        with contextlib.suppress(TimeoutError):
            await within(self._flush(), FLUSH_S)
        await self.circuit.close()
        await self._reads.close()
        await self._changes.close()
        self.debts.give_up()

    async def _flush(self) -> None:
        await self._changes.idle()
        while self.debts.held and self.circuit.open:
            await self.circuit.back()
            await self._changes.idle()

    async def _refuse(self, scope: Scope) -> None:
        """Keep no value, for want of room, and no older one either."""
        self.debts.count_lost()
        self.debts.tell(at_most_each_minute=True)
        await self.forget(scope)

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
            self.debts.add(change)
            return None
        self.debts.supersede(change.scope)
        try:
            answer = await self._changes.make(change)
        except TimeoutError:
            self.troubles.impatient += 1
            return None
        if isinstance(answer, OutOfMemoryError):
            self.troubles.failed += 1
            raise answer
        return answer

    async def _bounded(self, work: Awaitable[T]) -> T:
        """Return what Redis answers; a failure opens the circuit."""
        try:
            return await within_free(work, max(ANSWER_S, self._patience_s))
        except FAILURES as exc:
            self._fail(exc)
            raise

    def _fail(self, exc: BaseException) -> None:
        self.troubles.failed += 1
        self.circuit.trip(exc)

    async def _pay(self) -> None:
        """See that Redis is there, and do what is owed. What is changed meanwhile comes behind it, in the same queue."""
        await self._changes.idle()  # what is under way to a Redis that hangs must not come behind what is done now
        await self._redis.ping()
        self._paying = True
        try:
            while self.debts:
                await self._pay_all()
        finally:
            self._paying = False
        self.debts.tell()

    async def _pay_all(self) -> None:
        owed, held = self.debts.due()
        changes = [*map(self._forgetting, owed), *held]
        for change, answer in [(one, self._changes.put(one)) for one in changes]:
            if (told := await answer) is None:
                raise TimeoutError("expected Redis to take what is owed, it did not")
            if isinstance(told, OutOfMemoryError):  # of a value: forgetting frees
                self.debts.lose(change)


def _now() -> float:
    return asyncio.get_running_loop().time()
