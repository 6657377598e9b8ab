"""A thing that takes several steps is made once under a key, whoever fails, dies or comes late."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
import redis.asyncio as aioredis

from infrastructure.core.error_core import IdempotencyMismatch, IdempotencyRunning, StoreFull
from tests.support.waiting import eventually
from workers.jobs.idempotency.claims import Asked, Claims, Made, TakenOver

pytestmark = pytest.mark.anyio
DAY_MS = 86_400_000


def asked(key: str = "k", *, tenant: str = "acme", scope: str = "file", body: str = "b1") -> Asked:
    return Asked(tenant=tenant, scope=scope, key=key, body_digest=body)


@pytest.fixture
def claims(redis: aioredis.Redis) -> Claims:
    return Claims(redis, prefix="aip", lease_s=0.4)


class Maker:
    """Makes things, when it may go on; counts how often it was asked to."""

    def __init__(self, *, fails: Exception | None = None, waits: bool = False) -> None:
        self.asked = 0
        self.fails = fails
        self.go_on = asyncio.Event()
        if not waits:
            self.go_on.set()

    async def __call__(self) -> str:
        self.asked += 1
        number = self.asked
        await self.go_on.wait()
        if self.fails:
            raise self.fails
        return f"file_{number}"


async def kept_ms(redis: aioredis.Redis) -> int:
    [name] = await redis.keys("aip:once:*")
    return int(await redis.pttl(name))


async def test_a_repeat_gets_what_the_first_request_made(claims: Claims) -> None:
    make = Maker()
    assert await claims.once(asked(), make) == Made(value="file_1", replayed=False)
    assert await claims.once(asked(), make) == Made(value="file_1", replayed=True)
    assert make.asked == 1


async def test_another_body_is_refused_while_it_is_made_and_after(claims: Claims) -> None:
    make = Maker(waits=True)
    first = asyncio.create_task(claims.once(asked(), make))
    await eventually(lambda: make.asked)
    for _ in range(2):
        with pytest.raises(IdempotencyMismatch):
            await claims.once(asked(body="b2"), make)
        make.go_on.set()
        await first
    assert make.asked == 1


async def test_of_a_hundred_at_once_one_makes_it_and_the_others_are_told_to_come_back(claims: Claims) -> None:
    make = Maker(waits=True)
    tasks = [asyncio.create_task(claims.once(asked(), make)) for _ in range(100)]
    await eventually(lambda: sum(task.done() for task in tasks) == 99)
    make.go_on.set()
    done: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
    assert Counter(type(one) for one in done) == {Made: 1, IdempotencyRunning: 99}
    waits = {one.retry_after_s for one in done if isinstance(one, IdempotencyRunning)}
    assert all(1 <= (wait_s or 0) <= 5 for wait_s in waits)
    assert (await claims.once(asked(), make)).replayed
    assert make.asked == 1


@pytest.mark.parametrize(
    "other", [asked("other"), asked(tenant="other"), asked(scope="batch")], ids=["key", "tenant", "scope"]
)
async def test_keys_of_others_and_of_other_things_are_others(claims: Claims, other: Asked) -> None:
    make = Maker()
    await claims.once(asked(), make)
    assert await claims.once(other, make) == Made(value="file_2", replayed=False)


async def test_a_failure_frees_the_key_for_another_body_too(claims: Claims, redis: aioredis.Redis) -> None:
    with pytest.raises(ValueError, match="no good"):
        await claims.once(asked(), Maker(fails=ValueError("no good")))
    assert not await redis.keys("aip:once:*")
    assert not (await claims.once(asked(body="b2"), Maker())).replayed


async def test_a_caller_who_goes_away_frees_the_key(claims: Claims, redis: aioredis.Redis) -> None:
    make = Maker(waits=True)
    task = asyncio.create_task(claims.once(asked(), make))
    await eventually(lambda: make.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not await redis.keys("aip:once:*")


async def test_a_long_making_keeps_its_claim_beyond_the_lease(claims: Claims, redis: aioredis.Redis) -> None:
    make = Maker(waits=True)
    task = asyncio.create_task(claims.once(asked(), make))
    await eventually(lambda: make.asked)
    began = asyncio.get_running_loop().time()

    async def still_running() -> bool:
        with pytest.raises(IdempotencyRunning):
            await claims.begin(asked(), holder="another")
        return asyncio.get_running_loop().time() - began > 3 * 0.4

    await eventually(still_running)
    make.go_on.set()
    assert (await task).value == "file_1"


async def test_a_dead_holders_claim_is_free_after_its_lease_and_its_late_word_is_not_heard(
    claims: Claims, redis: aioredis.Redis
) -> None:
    assert await claims.begin(asked(), holder="dead") is None
    assert await claims.begin(asked(), holder="dead") is None  # sent again
    with pytest.raises(IdempotencyRunning):
        await claims.begin(asked(), holder="next")
    await eventually(lambda: _is_free(redis))
    assert await claims.once(asked(), Maker()) == Made(value="file_1", replayed=False)
    for word in (claims.renew(asked(), holder="dead"), claims.release(asked(), holder="dead")):
        assert not await word
    assert not await claims.finish(asked(), "file_of_the_dead", holder="dead")
    assert (await claims.once(asked(), Maker())).value == "file_1"


async def test_who_was_overtaken_is_told(claims: Claims, redis: aioredis.Redis) -> None:
    make = Maker(waits=True)
    slow = asyncio.create_task(claims.once(asked(), make))
    await eventually(lambda: make.asked)
    await redis.delete(*await redis.keys("aip:once:*"))  # as if its process had stood still for a lease
    assert (await claims.once(asked(), Maker())).value == "file_1"
    make.go_on.set()
    with pytest.raises(TakenOver):
        await slow


async def test_a_word_that_is_sent_twice_is_as_good_as_once(claims: Claims) -> None:
    await claims.begin(asked(), holder="h")
    assert [await claims.finish(asked(), "v", holder="h") for _ in range(2)] == [True, True]
    assert not await claims.finish(asked(), "another", holder="h")
    assert not await claims.release(asked(), holder="h")
    assert await claims.begin(asked(), holder="h") == "v"


@pytest.mark.parametrize(("kept_s", "expected_ms"), [(0, DAY_MS), (60, DAY_MS), (200_000, 200_000_000)])
async def test_a_claim_is_kept_a_day_and_as_long_as_the_thing(
    claims: Claims, redis: aioredis.Redis, kept_s: float, expected_ms: int
) -> None:
    await claims.begin(asked(), holder="h")
    assert 0 < await kept_ms(redis) <= 400
    await claims.finish(asked(), "v", holder="h", kept_s=kept_s)
    assert expected_ms - 10_000 < await kept_ms(redis) <= expected_ms


async def test_a_full_redis_lets_what_was_begun_end_and_nothing_begin(claims: Claims, redis: aioredis.Redis) -> None:
    await claims.begin(asked(), holder="h")
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreFull):
            await claims.begin(asked("new"), holder="h")
        assert await claims.finish(asked(), "v", holder="h")
    finally:
        await redis.config_set("maxmemory", 0)
    assert await claims.begin(asked(), holder="x") == "v"


async def test_a_callers_key_is_in_no_key_name(claims: Claims, redis: aioredis.Redis) -> None:
    await claims.begin(asked("a secret of theirs"), holder="h")
    assert not [name for name in await redis.keys("*") if b"secret" in name]


async def _is_free(redis: aioredis.Redis) -> bool:
    return not await redis.keys("aip:once:*")
