"""A client that keeps one connection of a pool: what it is asked at once, and while Redis goes and comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio as aioredis

from infrastructure.core.redis_core import connect, lone
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer(appendonly=True).start()
    yield server
    server.remove()


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[aioredis.Redis]:
    redis = connect(server.url, max_connections=8)
    yield redis
    await redis.aclose()


async def test_answers_of_many_at_once_go_to_who_asked_over_one_connection(redis: aioredis.Redis) -> None:
    one = lone(redis)
    assert await asyncio.gather(*(one.echo(str(number)) for number in range(200))) == [
        str(number).encode() for number in range(200)
    ]
    assert len(await redis.client_list()) == 2


async def test_an_answer_that_nobody_waits_for_any_more_is_not_the_next_one_s(redis: aioredis.Redis) -> None:
    one = lone(redis)
    await one.echo("warm")
    for number in range(20):
        await redis.client_pause(30)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.005):
                await one.echo(f"late {number}")
        assert await one.echo(f"next {number}") == f"next {number}".encode()


async def test_it_finds_a_server_that_was_away(server: RedisServer, redis: aioredis.Redis) -> None:
    one = lone(redis)
    await one.set("kept", 1)
    server.kill()
    with pytest.raises(aioredis.ConnectionError):
        await one.get("kept")
    server.start()

    async def back() -> bool:
        with contextlib.suppress(aioredis.ConnectionError):
            return await one.get("kept") == b"1"
        return False

    await eventually(back)


async def test_a_small_pool_lends_nothing_for_good(server: RedisServer) -> None:
    small = connect(server.url, max_connections=4)
    assert lone(small) is small
    await small.aclose()


async def test_it_ends_with_its_pool(server: RedisServer) -> None:
    pool = connect(server.url, max_connections=8)
    await lone(pool).ping()
    await pool.aclose()
    other = connect(server.url, max_connections=4)
    await eventually(lambda: _clients(other, 1))
    await other.aclose()


async def _clients(redis: aioredis.Redis, count: int) -> bool:
    return len(await redis.client_list()) == count
