"""Fixtures of every level: a private real Redis, and an environment without anybody's keys."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis as sync_redis
import redis.asyncio as aioredis

from tests.support.redis_server import RedisServer
from tests.support.sandbox import sandbox, sandbox_process  # noqa: F401  fixtures for every level
from tests.support.surroundings import without_keys

without_keys(os.environ)  # before any test reads them


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests where several processes run them."""
    if hasattr(config, "workerinput"):
        from tests.support import parallel

        parallel.order(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    """Divide the tests among several processes."""
    from tests.support import parallel

    return parallel.Lanes(config, log) if config.getoption("dist") == "loadscope" else None


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for the test process."""
    server = RedisServer().start()
    yield server
    server.remove()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """An empty server's URL."""
    client = sync_redis.Redis.from_url(redis_server.url)
    client.flushall()
    client.close()
    return redis_server.url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[aioredis.Redis]:
    """An async client of an empty server."""
    client = aioredis.Redis.from_url(redis_url)
    yield client
    await client.aclose()
