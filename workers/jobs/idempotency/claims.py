"""Idempotency keys of requests that take several steps: who makes the thing, and what the others are told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.asyncio_core import end_tasks, within
from infrastructure.core.error_core import IdempotencyMismatch, IdempotencyRunning, StoreError
from infrastructure.core.redis_core import store_errors
from workers.jobs import keys
from workers.jobs.ids import new_nonce
from workers.jobs.store import lua

PACKAGE = "workers.jobs.idempotency"
KEPT_S = 86_400.0
LEASE_S = 30.0
BEATS_A_LEASE = 3
SOONEST_S, LATEST_S = 1.0, 5.0
LAST_WORD_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request under an idempotency key. `scope` is what is made (`file`, `batch`, …): a key of one is not that of another."""

    tenant: str
    scope: str
    key: str
    body_digest: str

    def name(self) -> tuple[str, str, str]:
        """Return the parts of the claim's name."""
        return self.tenant, self.scope, keys.idempotency_digest(self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a request led to: the value that stands for the thing (its id), and whether an earlier request made it."""

    value: str
    replayed: bool


class TakenOver(IdempotencyRunning):
    """The right to make the thing was lost while it was made (the process stood still): another request makes it."""


class Claims:
    """Idempotency claims of one prefix on one Redis. Every method raises StoreUnavailable and StoreFull.

    A claim of a process that dies while it makes the thing is free again after `lease_s` seconds.
    """

    def __init__(self, redis: Redis, *, prefix: str, lease_s: float = LEASE_S) -> None:
        self._redis = redis
        self._prefix = prefix
        self._lease_s = lease_s
        self._begin = redis.register_script(lua.source("begin", PACKAGE))
        self._hold = redis.register_script(lua.source("hold", PACKAGE))

    async def once(self, asked: Asked, make: Callable[[], Awaitable[str]], *, kept_s: float = 0) -> Made:
        """Return what `make` returns, or what it returned to the first request under this key.

        A failure of `make` frees the key. The claim is kept a day from then, and `kept_s` seconds if that is more: as long as
        the thing is. `make` should leave nothing behind when this raises TakenOver.

        Raises:
            IdempotencyMismatch: the key came with another body before.
            IdempotencyRunning: the first request still makes it; the error says when to ask again.
        """
        holder = new_nonce()
        made = await self.begin(asked, holder=holder)
        if made is not None:
            return Made(value=made, replayed=True)
        renewing = asyncio.create_task(self._keep(asked, holder))
        try:
            value = await make()
        except BaseException:
            await end_tasks([renewing])
            with contextlib.suppress(StoreError, TimeoutError):  # then the lease ends by itself
                await within(self.release(asked, holder=holder), LAST_WORD_S)
            raise
        await end_tasks([renewing])
        if not await self.finish(asked, value, holder=holder, kept_s=kept_s):
            raise TakenOver(
                "expected the request to be served in time, got overtaken by its repeat", retry_after_s=LATEST_S
            )
        return Made(value=value, replayed=False)

    async def begin(self, asked: Asked, *, holder: str) -> str | None:
        """Take the right to make the thing; None: it is the holder's now. Else the value of the thing, which is made.

        Raises:
            IdempotencyMismatch: the key came with another body before.
            IdempotencyRunning: another holder makes it.
        """
        with store_errors():
            what, *told = await self._begin(
                args=[self._prefix, 0, *asked.name(), asked.body_digest, holder, _ms(self._lease_s)]
            )
        match what:
            case b"begun":
                return None
            case b"done":
                return str(told[0].decode())
            case b"running":
                wait_s = min(LATEST_S, max(SOONEST_S, told[0] / 1000))
                raise IdempotencyRunning(
                    "expected the first request under this Idempotency-Key to have ended, got one that still runs",
                    retry_after_s=wait_s,
                )
        raise IdempotencyMismatch("expected the body that this Idempotency-Key came with first, got another one")

    async def renew(self, asked: Asked, *, holder: str) -> bool:
        """Say that the thing is still being made; False: the right to make it is lost."""
        return await self._say(asked, holder, "renew", self._lease_s)

    async def finish(self, asked: Asked, value: str, *, holder: str, kept_s: float = 0) -> bool:
        """Say what was made; False: the right to make it was lost, and nobody is told of this one."""
        return await self._say(asked, holder, "finish", max(KEPT_S, kept_s), value)

    async def release(self, asked: Asked, *, holder: str) -> bool:
        """Say that it will not be made: the next request may try."""
        return await self._say(asked, holder, "release", 0)

    async def _say(self, asked: Asked, holder: str, word: str, seconds: float, value: str = "") -> bool:
        with store_errors():
            heard: Any = await self._hold(args=[self._prefix, 0, *asked.name(), holder, word, _ms(seconds), value])
        return bool(heard)

    async def _keep(self, asked: Asked, holder: str) -> None:
        """Renew until cancelled, or until the right is lost."""
        while True:
            await asyncio.sleep(self._lease_s / BEATS_A_LEASE)
            with contextlib.suppress(StoreError):  # a beat may be lost
                if not await self.renew(asked, holder=holder):
                    return


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
