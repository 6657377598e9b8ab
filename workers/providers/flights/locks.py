"""Flights in Redis: one lock for a key over all processes, who waits for it, and what landed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from infrastructure.core.asyncio_core import within_free
from infrastructure.core.cache_core.circuit import FAILURES, Circuit
from infrastructure.core.logger_core import CoreLogger, where
from workers.jobs.gate.grouped import Grouped

PATIENCE_S = 0.5
TRIES = 2
"""Of a question that gets no answer in PATIENCE_S: once may be this process's own slowness, and a script may be sent twice."""
LISTEN_S = 5.0
AGAIN_S = 0.5
LANDED_AT_ONCE = 64
"""Answers may be long: one question should not keep Redis from others."""


class Word(StrEnum):
    """What Redis answers."""

    LEAD = "lead"
    BUSY = "busy"
    LANDED = "landed"
    HELD = "held"
    LOST = "lost"
    RELEASED = "released"
    LEFT = "left"
    AWAY = "away"
    """Nothing: Redis is away, or too slow."""


@dataclass(frozen=True, slots=True)
class Told:
    """A word of Redis, with its value: what landed, or in how many ms the leader's lease ends."""

    word: Word
    landed: bytes = b""
    wait_ms: int = 0


_AWAY = Told(Word.AWAY)


class _Circuit(Circuit):
    def tell_away(self, exc: BaseException) -> None:
        self._log.warning("Equal requests are shared within this process only, Redis is away", context=where(exc))

    def tell_back(self) -> None:
        self._log.info("Equal requests are shared with other processes again")


class Locks:
    """Asks and tells Redis about flights. No method raises for Redis, and none waits longer than about a second for it.

    `heard` is called with the name of each flight that this process should look at again; None: at all of them, since
    something may have been said while nobody listened. A flight's name is what stands behind `flight:` in its key.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        prefix: str,
        owner: str,
        lease_ms: int,
        heard: Callable[[str | None], None],
        log: CoreLogger,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._owner = owner
        self._lease_ms = lease_ms
        self._heard = heard
        self._log = log
        self._flights, self._landing = (redis.register_script(_source(name)) for name in ("flights", "land"))
        self._asked: Grouped[tuple[str | int, ...], Told] = Grouped(self._ask)
        self._told: Grouped[tuple[str | int | bytes, ...], bool] = Grouped(self._land, most=LANDED_AT_ONCE)
        self._circuit = _Circuit(self._ping, log=log)
        self.listening = asyncio.Event()

    async def acquire(self, name: str, nonce: str) -> Told:
        """Take a flight's lock (LEAD), or hear that another has it (BUSY: it will be told when this changes), or LANDED."""
        return await self._say("acquire", name, nonce)

    async def renew(self, name: str, nonce: str) -> Told:
        """Make the lock's lease begin again: HELD, or LOST."""
        return await self._say("renew", name, nonce)

    async def leave(self, name: str) -> Told:
        """Wait for a flight no longer."""
        return await self._say("leave", name, "")

    async def release(self, name: str, nonce: str) -> Told:
        """Give the lock up unless another process waits: RELEASED, HELD since one does, or LOST before."""
        return await self._say("release", name, nonce)

    async def abandon(self, name: str, nonce: str) -> Told:
        """Give the lock up; one of the processes that wait takes it."""
        return await self._say("abandon", name, nonce)

    async def land(self, name: str, nonce: str, landed: bytes, *, kept_ms: int) -> bool | None:
        """Bring an answer to all who wait and keep it for a while; False: the lock was lost. None: Redis did not take it."""
        if self._circuit.open:
            return None
        try:
            return await self._told.add((name, nonce, kept_ms, landed))
        except FAILURES:
            return None

    async def look(self) -> None:
        """See whether Redis is there: where it is not, nobody goes on waiting for its word."""
        with contextlib.suppress(*FAILURES):
            await self._bounded(self._flights, [self._prefix, self._owner])

    async def listen(self) -> None:
        """Hear what other processes tell, until cancelled; connects again when Redis comes back."""
        while True:
            pubsub = self._redis.pubsub()
            try:
                await pubsub.subscribe(f"{self._prefix}:flights:{self._owner}")
                while True:
                    self._hear(await pubsub.get_message(timeout=LISTEN_S))
            except FAILURES as exc:
                self._log.debug("Channel of flights is lost, connecting again", context=where(exc))
                await self.look()
            finally:
                self.listening.clear()
                with contextlib.suppress(OSError, RedisError):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
            await asyncio.sleep(AGAIN_S)

    async def close(self) -> None:
        """End what runs in the background."""
        await self._asked.close()
        await self._told.close()
        await self._circuit.close()

    def _hear(self, message: dict[str, Any] | None) -> None:
        if message is None:
            return
        if message["type"] == "subscribe":
            self.listening.set()
            self._heard(None)
        elif message["type"] == "message":
            self._heard(message["data"].decode())

    async def _say(self, what: str, name: str, nonce: str) -> Told:
        if self._circuit.open:
            return _AWAY
        try:
            return await self._asked.add((what, name, nonce, self._lease_ms))
        except FAILURES:
            return _AWAY

    async def _ask(self, questions: Sequence[tuple[str | int, ...]]) -> list[Told]:
        arguments = [self._prefix, self._owner, *(part for question in questions for part in question)]
        return [_told(*answer) for answer in await self._bounded(self._flights, arguments)]

    async def _land(self, landings: Sequence[tuple[str | int | bytes, ...]]) -> list[bool]:
        arguments = [self._prefix, *(part for landing in landings for part in landing)]
        return [bool(taken) for taken in await self._bounded(self._landing, arguments)]

    async def _bounded(self, script: Any, arguments: list[Any]) -> list[Any]:
        try:
            return await _patiently(script, arguments)
        except OutOfMemoryError:  # of a landing: Redis is there
            raise
        except FAILURES as exc:
            self._trip(exc)
            raise

    def _trip(self, exc: BaseException) -> None:
        """Leave Redis alone until it is back, and let nobody wait for word from it."""
        self._circuit.trip(exc)
        self._heard(None)

    async def _ping(self) -> None:
        await self._redis.ping()


async def _patiently(script: Any, arguments: list[Any]) -> list[Any]:
    for _ in range(TRIES - 1):
        with contextlib.suppress(TimeoutError):
            return await _once(script, arguments)
    return await _once(script, arguments)


async def _once(script: Any, arguments: list[Any]) -> list[Any]:
    answers: list[Any] = await within_free(script(args=arguments), PATIENCE_S)
    return answers


def _told(word: bytes, value: bytes | int) -> Told:
    if isinstance(value, bytes):
        return Told(Word(word.decode()), landed=value)
    return Told(Word(word.decode()), wait_ms=value)


def _source(name: str) -> str:
    return (files("workers.providers.flights") / "scripts" / f"{name}.lua").read_text(encoding="utf-8")
