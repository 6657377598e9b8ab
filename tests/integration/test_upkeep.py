"""The ringer, on a real store and broker list."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from infrastructure.core.logger_core import get_logger
from tests.integration.test_lease import submit
from workers.handlers.upkeep import Ringer
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio
LOG = get_logger("ai-provider", "test")
LIST = "aip:mq:completions"


async def looks(redis: Redis, store: JobStore, count: int) -> list[int]:
    """Look so many times; return how often each look rang."""
    ringer = Ringer(redis, redis, LIST, "aip:ringer", 12_000)
    rings: list[str | None] = []
    found = []
    for _ in range(count):
        before = len(rings)
        await ringer.look(store, ring=rings.append, log=LOG)
        found.append(len(rings) - before)
    return found


async def test_the_second_look_in_a_row_rings_once_for_each_ready_job(redis: Redis) -> None:
    store = JobStore(redis)
    for _ in range(3):
        await submit(store)

    assert await looks(redis, store, 3) == [0, 3, 0]


async def test_nobody_rings_while_messages_wait(redis: Redis) -> None:
    store = JobStore(redis)
    await submit(store)
    await redis.lpush(LIST, "a message")

    assert await looks(redis, store, 3) == [0, 0, 0]


async def test_nobody_rings_for_an_empty_queue(redis: Redis) -> None:
    assert await looks(redis, JobStore(redis), 3) == [0, 0, 0]


async def test_a_look_that_finds_a_message_makes_the_next_one_the_first(redis: Redis) -> None:
    store = JobStore(redis)
    await submit(store)

    assert await looks(redis, store, 1) == [0]
    await redis.lpush(LIST, "a message")
    assert await looks(redis, store, 1) == [0]
    await redis.delete(LIST)
    assert await looks(redis, store, 2) == [0, 1]
    assert await redis.pttl("aip:ringer") < 0
