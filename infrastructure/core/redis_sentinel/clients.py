"""Clients of a Redis behind Sentinel, with the same bounds as the others have: the master is asked for at each connection."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import redis.asyncio as aioredis
from redis import Redis as SyncRedis
from redis import sentinel as sync_sentinel
from redis.asyncio import sentinel as async_sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry as SyncRetry

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.redis_sentinel.address import SentinelAddress

ASK_S = 1.0
"""How long a sentinel may take to answer; they are asked all at once."""
LOOK_EVERY_S = 1.0
Address = tuple[str, int]


class Sentinels(async_sentinel.Sentinel):
    """The sentinels of one master.

    All are asked at once, and of the answers the one of the highest epoch counts: redis-py takes the first that answers, which
    may be a sentinel that was cut off from the others and still believes in the old master.
    """

    async def discover_master(self, service_name: str) -> Address:
        """Return where the master is.

        Raises:
            MasterNotFoundError: no sentinel answers in time, or all that do hold the master to be down.
        """
        asked = [asyncio.create_task(_told(one, service_name)) for one in self.sentinels]
        try:
            await asyncio.wait(asked, timeout=ASK_S)
            answers = [one.result() for one in asked if one.done() and not one.cancelled()]
        finally:
            await end_tasks([one for one in asked if not one.done()])
        states = [state for state in answers if state and self.check_master_state(state, service_name)]
        if not states:
            raise async_sentinel.MasterNotFoundError("expected a sentinel to know a master that is up, got none")
        newest = max(states, key=lambda state: int(state.get("config-epoch", 0)))
        return newest["ip"], int(newest["port"])


async def _told(sentinel: Any, name: str) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = await sentinel.sentinel_master(name)
    except (RedisError, OSError, TimeoutError):
        return None
    return state


class MasterConnection(async_sentinel.SentinelManagedConnection):
    """A connection that asks for the master each time it connects, and leaves one that turns out to be a replica.

    Upstream defect (redis-py 8.1): a command that is sent again connects again without asking, to where the master was.
    """

    async def connect(self) -> None:
        """Connect where the master is, trying again as the others do."""
        await aioredis.Connection.connect(self)  # type: ignore[no-untyped-call]  # so is much in redis-py

    async def _connect(self) -> None:
        self.host, self.port = await self.connection_pool.get_master_address()
        await super()._connect()  # type: ignore[no-untyped-call]


class SentinelPool(async_sentinel.SentinelConnectionPool, aioredis.BlockingConnectionPool):
    """A blocking pool of connections to the master.

    While it is used it asks once a second where the master is, and drops every connection to another one, those in use too: a
    subscription, or an answer that is waited for, hears nothing of a failover when the old master's machine has gone silent.
    Nor is a connection to another one ever handed out: a master that was frozen wakes as a master, and takes for some
    seconds what is lost when it learns that it is none (redis-py drops, once, what is idle at the failover, not what was in use).
    """

    def __init__(self, service_name: str, sentinel_manager: Sentinels, **options: Any) -> None:
        super().__init__(service_name, sentinel_manager, connection_class=MasterConnection, **options)  # type: ignore[no-untyped-call]
        self._watching: asyncio.Task[None] | None = None

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        """Return a connection to the master, waiting for a free one.

        Raises:
            MasterNotFoundError: there is no master now.
            ConnectionError: it cannot be reached, or none was free in time.
        """
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch(), name="sentinel-watch")
        return await super().get_connection()  # type: ignore[no-untyped-call]

    async def aclose(self) -> None:
        """Close everything, the connections to the sentinels too."""
        watching, self._watching = self._watching, None
        if watching is not None:
            await end_tasks([watching])
        await super().aclose()
        await self.sentinel_manager.aclose()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                self.master_address = await self.sentinel_manager.discover_master(self.service_name)
                await self._drop_others()

    async def ensure_connection(self, connection: Any) -> None:
        """Have a connection ready to be handed out: to the master, as far as is known."""
        if self._is_elsewhere(connection):
            await connection.disconnect(nowait=True)
        await super().ensure_connection(connection)

    async def _drop_others(self) -> None:
        """Disconnect what is connected elsewhere; who waits there is told by a lost connection, and tries again."""
        connections: list[Any] = [*self._available_connections, *self._in_use_connections]
        for connection in filter(self._is_elsewhere, connections):
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await connection.disconnect(nowait=True)

    def _is_elsewhere(self, connection: Any) -> bool:
        return bool(connection.is_connected) and (connection.host, connection.port) != self.master_address


def async_client(address: SentinelAddress, *, max_connections: int, wait_s: float, **options: Any) -> aioredis.Redis:
    """Return an async client of the master; nothing is connected yet. `options` go to each connection."""
    sentinels = Sentinels(  # type: ignore[no-untyped-call]
        address.sentinels, sentinel_kwargs={**_asking(address), "retry": Retry(NoBackoff(), 0), "max_connections": 4}
    )
    pool = SentinelPool(
        address.master,
        sentinels,
        max_connections=max_connections,
        timeout=wait_s,
        db=address.database,
        username=address.username,
        password=address.password,
        **options,
    )
    return aioredis.Redis.from_pool(pool)


def sync_client(address: SentinelAddress, **options: Any) -> SyncRedis:
    """Return a blocking client of the master."""
    sentinels = sync_sentinel.Sentinel(  # type: ignore[no-untyped-call]  # so in redis-py
        address.sentinels, sentinel_kwargs={**_asking(address), "retry": SyncRetry(NoBackoff(), 0)}
    )
    client: SyncRedis = sentinels.master_for(  # type: ignore[no-untyped-call]
        address.master, db=address.database, username=address.username, password=address.password, **options
    )
    return client


def _asking(address: SentinelAddress) -> dict[str, Any]:
    """Return how a sentinel is asked: shortly."""
    return {"socket_timeout": ASK_S, "socket_connect_timeout": ASK_S, **address.sentinel_options()}
