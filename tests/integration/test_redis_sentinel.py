"""A real master, replica and sentinel: clients follow the master, whether the old one is dead, frozen or demoted."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest
import redis.asyncio as aioredis

from infrastructure.core.error_core import ServiceError, StoreUnavailable
from infrastructure.core.redis_core import connect, connect_sync, store_errors
from tests.support.sentinels import Sentinels, Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def sentinels() -> Iterator[Sentinels]:
    with Sentinels(sentinels=1) as running:
        yield running


async def answers(client: aioredis.Redis) -> bool:
    try:
        with store_errors():
            return bool(await client.incr("asked"))
    except ServiceError:
        return False


async def port_of(client: aioredis.Redis) -> int:
    return int((await client.info("server"))["tcp_port"])


async def test_clients_and_subscriptions_follow_the_master_from_a_dead_one(sentinels: Sentinels) -> None:
    heard: list[bytes] = []
    async with connect(sentinels.url, max_connections=4, wait_s=2, socket_timeout_s=3) as client:
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        await pubsub.subscribe("news")
        assert await port_of(client) == sentinels.master.port

        async def listen() -> None:
            while True:
                try:
                    message = await pubsub.get_message(timeout=1)
                    if message:
                        heard.append(message["data"])
                except Exception:  # noqa: BLE001  a lost connection is subscribed anew at the next look
                    await asyncio.sleep(0.05)

        listening = asyncio.create_task(listen())
        old = await asyncio.to_thread(sentinels.fail_over)
        await eventually(lambda: answers(client), within_s=10, what="the client follows")
        assert await port_of(client) == sentinels.master.port

        async def told() -> bool:
            await client.publish("news", "moved")
            return bool(heard)

        await eventually(told, within_s=10, what="the subscription follows")
        listening.cancel()
        await pubsub.aclose()  # type: ignore[no-untyped-call]
        with connect_sync(sentinels.url, socket_timeout_s=2) as blocking:
            assert blocking.info("server")["tcp_port"] == sentinels.master.port
        await asyncio.to_thread(sentinels.bring_back, old)


async def test_a_master_demoted_under_a_client_is_left(sentinels: Sentinels) -> None:
    async with connect(sentinels.url, max_connections=2, wait_s=2, socket_timeout_s=3) as client:
        assert await answers(client)
        master = sentinels.master
        with sentinels.sentinels[0].client as sentinel:
            sentinel.execute_command("SENTINEL", "FAILOVER", "aip")

        async def followed() -> bool:
            return await answers(client) and await port_of(client) != master.port

        await eventually(followed, within_s=15, what="the client follows")
        assert await port_of(client) == sentinels.master.port


async def test_a_call_that_waits_on_a_frozen_master_is_answered_by_the_next(sentinels: Sentinels) -> None:
    async with connect(sentinels.url, max_connections=2, wait_s=2, socket_timeout_s=30) as client:
        await client.ping()
        waits = asyncio.create_task(popped(client))
        await eventually(lambda: blocked(sentinels.master), what="the call waits")
        old = await asyncio.to_thread(sentinels.fail_over, signal.SIGSTOP)
        try:
            async with asyncio.timeout(10):  # its socket's own patience is 30 s
                await eventually(lambda: blocked(sentinels.master), what="the call waits at the new master")
            await client.lpush("never", "now")
            assert await waits == (b"never", b"now")
        finally:
            old.thaw()  # it wakes as a master, and stays one until the sentinel has told it
        ports = await asyncio.gather(*(port_of(client) for _ in range(10)))
        assert set(ports) == {sentinels.master.port}


async def popped(client: aioredis.Redis) -> object:
    return await client.blpop(["never"], timeout=25)


def blocked(server: Server) -> bool:
    with server.client as client:
        return int(client.info("clients")["blocked_clients"]) == 1


async def test_without_a_master_the_store_is_unavailable_at_once() -> None:
    url = "redis+sentinel://127.0.0.1:1,127.0.0.1:2/0?master=aip"
    async with connect(url, max_connections=2, wait_s=2, socket_timeout_s=3) as client:
        async with asyncio.timeout(2):
            with pytest.raises(StoreUnavailable), store_errors():
                await client.ping()
