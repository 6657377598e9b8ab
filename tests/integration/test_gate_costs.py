"""The ledger: what is booked can be read back by day, tenant, provider and model; unknown stays unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis.asyncio as aioredis

from infrastructure.core.error_core import StoreError
from infrastructure.core.redis_core import connect
from tests.support.gates import PREFIX, redis_twin
from tests.support.jobs import members
from tests.support.redis_server import RedisServer
from workers.jobs.gate.costs import CostRow, Credits, costs
from workers.jobs.gate.models import Verdict

pytestmark = pytest.mark.anyio


async def today(redis: aioredis.Redis) -> datetime:
    seconds, _ = await redis.time()
    return datetime.fromtimestamp(seconds, UTC)


async def test_rows_are_read_back_as_they_were_booked(redis: aioredis.Redis) -> None:
    twin = redis_twin(redis)
    await twin.call(cost_usd=0.1)
    await twin.call(cost_usd=0.2)
    await twin.call(Verdict.FAILED, cost_usd=None)
    await twin.call(begin={"tenant": "blue", "provider": "beta:x", "model": "m|2"})
    day = (await today(redis)).date().isoformat()
    rows = await costs(redis, PREFIX)
    assert {(row.tenant, row.provider, row.model) for row in rows} == {
        ("red", "alpha", "model-1"), ("blue", "beta:x", "m|2"),
    }  # fmt: skip
    [mine] = await costs(redis, PREFIX, tenant="red")
    assert mine.cost_usd == pytest.approx(0.3)
    assert mine == CostRow(day=day, tenant="red", provider="alpha", model="model-1", calls=3, failed=1, maybe_billed=1,
                           maybe_unbounded=1, prompt_tokens=6, completion_tokens=8, cost_usd=mine.cost_usd)  # fmt: skip


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC),
        datetime(2024, 3, 1, tzinfo=UTC),
        datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2100, 3, 1, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
    ],
)
async def test_a_day_is_the_one_of_redis_s_clock_by_utc(redis: aioredis.Redis, instant: datetime) -> None:
    twin = redis_twin(redis)
    await twin.advance(
        (instant - await today(redis)).total_seconds() * 1000 + (1_000 if instant.second == 0 else -2_000)
    )
    await twin.call()
    [name] = members(await redis.keys(f"{PREFIX}:cost:*"))
    assert name == f"{PREFIX}:cost:{instant.date().isoformat()}"
    assert 89 * 86_400 < await redis.ttl(name) <= 90 * 86_400


async def test_days_are_read_newest_first(redis: aioredis.Redis) -> None:
    now = await today(redis)
    for back in (2, 0, 1, 5):
        day = (now - timedelta(days=back)).date().isoformat()
        await redis.hset(f"{PREFIX}:cost:{day}", mapping={"t|p|m|calls": back + 1, "t|p|m|unheard_of": 7})
    assert [row.calls for row in await costs(redis, PREFIX, days=3)] == [1, 2, 3]
    assert [row.calls for row in await costs(redis, PREFIX, days=0)] == [1]
    assert len(await costs(redis, PREFIX, days=10_000)) == 4


async def test_what_answers_without_a_call_saved_is_booked_once(redis: aioredis.Redis) -> None:
    booked = Credits(redis, prefix=PREFIX)
    booked.hit(tenant="red", provider="alpha", model="m", saved_usd=0.5)
    booked.hit(tenant="red", provider="alpha", model="m", saved_usd=None)
    booked.joined(tenant="red", provider="alpha", model="m", saved_usd=0.25)
    await booked.close()
    [row] = await costs(redis, PREFIX)
    assert (row.hits, row.joined, row.saved_usd, row.calls, row.cost_usd) == (2, 1, 0.75, 0, 0)
    arguments = (PREFIX, 0, "nonce", b'[{"tenant":"red","p":"alpha","m":"m","what":"hits","saved":0.5}]')
    assert [await booked._script(args=arguments) for _ in range(2)] == [1, 0]
    assert (await costs(redis, PREFIX))[0].hits == 3


async def test_without_redis_nothing_is_booked_and_nobody_is_troubled() -> None:
    server = RedisServer().start()
    redis = connect(server.url, max_connections=2)
    try:
        server.kill()
        booked = Credits(redis, prefix=PREFIX)
        booked.hit(tenant="red", provider="alpha", model="m", saved_usd=0.5)
        await booked.close()
        with pytest.raises(StoreError):
            await costs(redis, PREFIX)
    finally:
        await redis.aclose()
        server.remove()


async def test_a_day_has_so_many_models_of_a_provider_and_what_comes_beyond_is_booked_together(
    redis: aioredis.Redis,
) -> None:
    twin = redis_twin(redis)
    for number in range(205):
        await twin.call(begin={"model": f"made-up-{number}", "tenant": f"t{number % 2}"}, cost_usd=0.01)
    await twin.call(begin={"model": "made-up-7"}, cost_usd=0.01)
    await twin.call(begin={"provider": "beta", "model": "m"}, cost_usd=0.01)
    rows = await costs(redis, PREFIX)
    assert len({(row.provider, row.model) for row in rows}) == 202
    assert sum(row.calls for row in rows if row.model == "(other)") == 5
    assert sum(row.calls for row in rows if row.model == "made-up-7") == 2
    assert sum(row.calls for row in rows) == 207
