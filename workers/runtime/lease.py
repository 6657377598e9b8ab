"""A worker's lease: its heartbeat, what it learns from each beat, and the channel that tells it to stop a call."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from infrastructure.core.error_core import StoreUnavailable
from infrastructure.core.logger_core import CoreLogger
from workers.jobs.store.job_store import JobStore

STRANGER_AFTER_S = 10.0
RENEWAL_MARGIN_S = 3.0
LISTEN_S = 5.0
RECONNECT_S = 1.0


def new_owner(kind: str) -> str:
    """Return a name for this process that no other one has or had: kind, host, process id, random part."""
    return f"{kind}@{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"


def monotonic() -> float:
    """Return seconds on a clock that counts suspended time where the system has one (a lease runs out meanwhile too)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """Keeps a process alive in `workers`, and compares what the store says it owns with what it runs.

    `running` gives the claim nonces that the process runs; `lost` is called with the nonces that it runs but does not own
    any more (cancelled, past the deadline, rescued); `strange` with claims that it owns but does not run.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        owner: str,
        heartbeat_s: float,
        lease_s: float,
        running: Callable[[], frozenset[str]],
        lost: Callable[[str], None],
        strange: Callable[[str], Awaitable[None]],
        log: CoreLogger,
    ) -> None:
        self._store = store
        self._owner = owner
        self._heartbeat_s = heartbeat_s
        self._good_for_s = lease_s - RENEWAL_MARGIN_S * lease_s / 15
        self._running = running
        self._lost = lost
        self._strange = strange
        self._log = log
        self._renewed_at: float | None = None
        self._strangers: dict[str, float] = {}

    def holds(self) -> bool:
        """Say whether a new call may start: the last heartbeat was heard recently enough that nobody rescues yet."""
        return self._renewed_at is not None and monotonic() - self._renewed_at < self._good_for_s

    async def beat(self) -> None:
        """Renew once and settle the differences.

        Raises:
            StoreError: the store did not answer; the lease runs on.
        """
        asked_at, before = monotonic(), self._running()
        try:
            async with asyncio.timeout(self._heartbeat_s):
                owned = await self._store.renew(self._owner)
        except TimeoutError as exc:
            raise StoreUnavailable("expected a heartbeat to be heard in time, it was not") from exc
        self._renewed_at = asked_at
        for nonce in before - owned.keys():
            self._lost(nonce)
        await self._settle_strangers(owned.keys() - self._running() - before)

    async def keep(self) -> None:
        """Beat until cancelled."""
        troubled = False
        while True:
            try:
                await self.beat()
                if troubled:
                    self._log.info("Heartbeat is heard again")
                troubled = False
            except Exception as exc:  # noqa: BLE001  whatever is wrong with one beat, the next must come
                if not troubled:
                    self._log.error("Heartbeat is not heard", exc=exc)
                troubled = True
            await asyncio.sleep(RECONNECT_S if troubled else self._heartbeat_s)

    async def _settle_strangers(self, nonces: frozenset[str] | set[str]) -> None:
        now = monotonic()
        self._strangers = {nonce: self._strangers.get(nonce, now) for nonce in nonces}
        for nonce, since in list(self._strangers.items()):
            if now - since >= STRANGER_AFTER_S:
                del self._strangers[nonce]
                await self._strange(nonce)


async def listen(redis: Redis, channel: str, heard: Callable[[str], None], *, log: CoreLogger) -> None:
    """Pass on each message of a channel until cancelled; connects again when Redis comes back.

    What is said while nobody listens is lost: the heartbeat finds the same out within its interval.
    """
    while True:
        pubsub = redis.pubsub(ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(channel)
            while True:
                message = await pubsub.get_message(timeout=LISTEN_S)
                if message is not None:
                    heard(message["data"].decode())
        except Exception as exc:  # noqa: BLE001  the channel must be heard again, whatever ended it
            log.debug("Channel is lost, connecting again", context={"error_type": type(exc).__name__})
        finally:
            with contextlib.suppress(OSError, RedisError):
                await pubsub.aclose()  # type: ignore[no-untyped-call]
        await asyncio.sleep(RECONNECT_S)
