"""The checks that one prober writes and everybody reads."""

from __future__ import annotations

import pytest
import redis as sync_redis
from redis.asyncio import Redis

from tests.support.jobs import PREFIX, audit
from workers.jobs.health import Health, HealthStore, Standing

pytestmark = pytest.mark.anyio
UP = Health(provider="p1", status=Standing.HEALTHY, reachable=True, response_time_ms=12.5, success_rate=0.98)


@pytest.fixture
def store(redis: Redis) -> HealthStore:
    return HealthStore(redis, prefix=PREFIX)


async def test_a_check_comes_back_with_its_age(store: HealthStore, redis_url: str) -> None:
    assert await store.begin_round("mine", within_ms=5_000)
    assert await store.write("mine", [UP])
    found = (await store.read(["p1", "p2"]))["p1"]
    assert (found.status, found.reachable, found.generates, found.success_rate) == (Standing.HEALTHY, True, None, 0.98)
    assert found.age_ms is not None
    assert 0 <= found.age_ms < 5_000
    with sync_redis.Redis.from_url(redis_url) as client:
        assert audit(client) == []


async def test_a_provider_that_nobody_checked_is_unknown(store: HealthStore) -> None:
    assert (await store.read(["p1"]))["p1"] == Health(provider="p1", status=Standing.UNKNOWN)
    assert await store.read([]) == {}


async def test_there_is_one_round_at_a_time(store: HealthStore) -> None:
    assert await store.begin_round("one", within_ms=5_000)
    assert not await store.begin_round("two", within_ms=5_000)
    await store.end_round("two")
    assert not await store.begin_round("two", within_ms=5_000)
    await store.end_round("one")
    assert await store.begin_round("two", within_ms=5_000)


async def test_a_prober_whose_round_ran_out_writes_nothing(store: HealthStore, redis: Redis) -> None:
    assert await store.begin_round("slow", within_ms=5_000)
    await redis.delete(f"{PREFIX}:health:round")
    assert await store.begin_round("next", within_ms=5_000)
    assert not await store.write("slow", [UP])
    assert (await store.read(["p1"]))["p1"].status is Standing.UNKNOWN


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"provider": "p1"}', b'{"status": "fine", "checked_ms": 1}'])
async def test_a_corrupt_check_is_no_check(store: HealthStore, redis: Redis, body: bytes) -> None:
    await redis.set(f"{PREFIX}:health:p1", body)
    assert (await store.read(["p1"]))["p1"].status is Standing.UNKNOWN
