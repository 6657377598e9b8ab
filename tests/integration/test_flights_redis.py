"""Flights meet in Redis: leases, lost messages, late leaders, a Redis that is away, full, or tells nonsense."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio as aioredis
from redis import Redis

from tests.support.jobs import members, without_expiry
from tests.support.machine import in_time
from tests.support.redis_server import RedisServer
from tests.support.sharing import LEASE_S, Provider, TextWire, process, soon
from tests.support.waiting import eventually
from workers.jobs import codec
from workers.providers.flights.flight import Shared
from workers.providers.flights.flights import Flights
from workers.providers.flights.locks import Locks, Word

pytestmark = pytest.mark.anyio
KEY = "1:acme:abc"
NAME = f"aip:flight:{KEY}"


@pytest.fixture
async def first(redis_url: str) -> AsyncIterator[Flights[str]]:
    async with process(redis_url, "first") as flights:
        yield flights


@pytest.fixture
async def second(redis_url: str) -> AsyncIterator[Flights[str]]:
    async with process(redis_url, "second") as flights:
        yield flights


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that the test may freeze and kill."""
    server = RedisServer().start()
    yield server
    server.remove()


def asking(
    flights: Flights[str], provider: Provider, key: str = KEY, within_s: float = 15
) -> asyncio.Task[Shared[str]]:
    return asyncio.create_task(flights.share(key, provider, deadline=soon(within_s)))


async def leading(flights: Flights[str], provider: Provider, key: str = KEY) -> asyncio.Task[Shared[str]]:
    asked = asking(flights, provider, key)
    await eventually(lambda: provider.calls > 0, what="the call is made")
    return asked


async def waiting(flights: Flights[str], provider: Provider, key: str = KEY) -> asyncio.Task[Shared[str]]:
    asked = asking(flights, provider, key)
    await eventually(
        lambda: key in flights._pilots and flights._pilots[key].waits, what="it waits for the other process"
    )
    return asked


async def test_what_has_landed_is_found_by_those_who_come_later(first: Flights[str], second: Flights[str]) -> None:
    provider = Provider(ready=True)
    assert not (await asking(first, provider)).joined
    shared = await eventually(lambda: _joined(second, provider))
    assert shared.answer == "four"
    assert provider.calls == 1


async def _joined(flights: Flights[str], provider: Provider) -> Shared[str] | None:
    shared = await asking(flights, provider)
    return shared if shared.joined else None


async def test_an_answer_is_shared_for_no_longer_than_it_may_be_kept(
    first: Flights[str], redis: aioredis.Redis
) -> None:
    provider = Provider(ready=True)
    await first.share(KEY, provider, deadline=soon(), kept_s=3)
    await eventually(lambda: redis.hexists(NAME, "landed"))
    assert 2_000 < await redis.pttl(NAME) <= 3_000


async def test_a_lease_is_renewed_for_as_long_as_the_call_takes(first: Flights[str], second: Flights[str]) -> None:
    provider = Provider()
    asked = await leading(first, provider)
    other = await waiting(second, provider)
    began = time.monotonic()
    await eventually(lambda: time.monotonic() - began > 2.5 * LEASE_S, what="more than two leases pass")
    provider.ready.set()
    assert (await other).joined
    await asked
    assert provider.calls == 1


async def test_a_leader_who_falls_silent_has_one_successor(first: Flights[str], redis_url: str) -> None:
    silent, good = Provider(), Provider()
    asked = await leading(first, silent)
    async with process(redis_url, "second") as second, process(redis_url, "third") as third:
        others = [await waiting(second, good), await waiting(third, good)]
        first._background[1].cancel()  # it renews no more, as if its process were frozen
        await eventually(lambda: good.calls > 0, what="somebody took over")
        good.ready.set()
        assert sorted(one.joined for one in await asyncio.gather(*others)) == [False, True]
        silent.answer = "late"
        silent.ready.set()
        assert (await asked).answer == "late"
        assert (await asking(second, good)).answer == "four"
    assert (silent.calls, good.calls) == (1, 1)


async def test_a_late_answer_is_neither_shared_nor_kept(first: Flights[str], redis: aioredis.Redis) -> None:
    provider, kept = Provider(), []

    async def keep(answer: str) -> None:
        kept.append(answer)

    asked = asyncio.create_task(first.share(KEY, provider, deadline=soon(), keep=keep))
    await eventually(lambda: provider.calls > 0)
    await redis.hset(NAME, "leader", "another")
    provider.ready.set()
    assert (await asked).answer == "four"
    await eventually(lambda: not first._pilots)
    assert not await redis.hexists(NAME, "landed")
    assert kept == []


async def test_a_message_that_is_lost_is_made_up_for_when_the_lease_would_end(
    first: Flights[str], second: Flights[str]
) -> None:
    provider = Provider()
    asked = await leading(first, provider)
    other = await waiting(second, provider)
    second._locks._heard = lambda _: None  # type: ignore[union-attr]
    provider.ready.set()
    assert (await other).joined
    await asked


async def test_what_was_told_while_nobody_listened_is_looked_up_at_the_return(
    first: Flights[str], redis_url: str, redis: aioredis.Redis
) -> None:
    async with process(redis_url, "leader", lease_s=60) as leader:
        provider = Provider()
        asked = await leading(leader, provider)
        other = await waiting(first, provider)
        await redis.client_kill_filter(_type="pubsub")
        provider.ready.set()
        assert (await other).joined
        await asked


async def test_a_lead_costs_two_questions_and_equal_requests_of_a_process_none(
    first: Flights[str], redis: aioredis.Redis
) -> None:
    await asking(first, Provider(ready=True))  # what is asked first loads the scripts
    await eventually(lambda: not first._pilots)
    await redis.config_resetstat()
    provider = Provider()
    asked = [asking(first, provider, "1:acme:other") for _ in range(50)]
    await eventually(lambda: provider.calls > 0)
    provider.ready.set()
    await asyncio.gather(*asked)
    await eventually(lambda: not first._pilots)
    stats = await redis.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 2


async def test_many_leads_at_once_go_in_groups(first: Flights[str], redis: aioredis.Redis) -> None:
    await asking(first, Provider(ready=True))
    await eventually(lambda: not first._pilots)
    await redis.config_resetstat()
    provider = Provider()
    asked = [asking(first, provider, f"1:acme:{number}") for number in range(500)]
    await eventually(lambda: provider.calls == 500)
    provider.ready.set()
    await asyncio.gather(*asked)
    await eventually(lambda: not first._pilots)
    stats = await redis.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] <= 50


async def test_every_key_expires(
    first: Flights[str], second: Flights[str], redis: aioredis.Redis, redis_url: str
) -> None:
    provider = Provider()
    asked = [await leading(first, provider), await waiting(second, provider)]
    client = Redis.from_url(redis_url)
    names = members(await redis.keys("aip:*"))
    assert names == [NAME]
    assert without_expiry(client, names) == []
    provider.ready.set()
    await asyncio.gather(*asked)
    assert without_expiry(client, members(await redis.keys("aip:*"))) == []
    client.close()


async def test_nonsense_in_the_place_of_an_answer_is_no_answer(first: Flights[str], redis: aioredis.Redis) -> None:
    foreign = codec.pack({"name": "1:other:abc", "led_ms": 1.0, "answer": {"text": "of another tenant"}})
    for number, nonsense in enumerate((b"", b"nonsense", codec.pack([]), codec.pack({"name": "1:acme:3"}), foreign)):
        key = f"1:acme:{number}"
        await redis.hset(f"aip:flight:{key}", mapping={"leader": "x", "landed": nonsense})
        shared = await asking(first, Provider(ready=True), key)
        assert (shared.answer, shared.joined) == ("four", False)


async def test_a_frozen_redis_is_waited_for_once_and_then_everyone_calls(own_server: RedisServer) -> None:
    async with process(own_server.url, "first") as first, process(own_server.url, "second") as second:
        provider = Provider(ready=True)
        own_server.freeze()
        began = time.monotonic()
        assert not (await asking(first, provider, "1:acme:1")).joined
        assert in_time(time.monotonic() - began, 3)  # 1 s, and what a loaded machine adds
        began = time.monotonic()
        for number in range(20):
            assert not (await asking(first, provider, f"1:acme:{number}")).joined
        assert in_time(time.monotonic() - began, 1)
        assert not (await asking(second, provider, "1:acme:1")).joined
        own_server.thaw()
        await eventually(lambda: not (first._locks._circuit.open or second._locks._circuit.open))  # type: ignore[union-attr]
        shared = Provider()
        asked = [await leading(first, shared), await waiting(second, shared)]
        shared.ready.set()
        assert {one.answer for one in await asyncio.gather(*asked)} == {"four"}
        assert shared.calls == 1


async def test_one_who_waits_for_a_redis_that_died_calls_himself(own_server: RedisServer) -> None:
    async with (
        process(own_server.url, "first", lease_s=60) as first,
        process(own_server.url, "second", lease_s=60) as second,
    ):
        leader, other = Provider(), Provider(ready=True)
        asked = await leading(first, leader)
        waits = await waiting(second, other)
        own_server.kill()
        assert (await waits).joined is False
        leader.ready.set()
        assert (await asked).answer == "four"
        assert (leader.calls, other.calls) == (1, 1)
        own_server.start()
        shared = Provider()
        await eventually(lambda: not (first._locks._circuit.open or second._locks._circuit.open))  # type: ignore[union-attr]
        asked = await leading(first, shared, "1:acme:new")
        waits = await waiting(second, shared, "1:acme:new")
        shared.ready.set()
        assert (await waits).joined
        await asked


async def test_flights_start_without_redis_and_find_it_later(own_server: RedisServer) -> None:
    own_server.kill()
    async with process(own_server.url, "first") as first, process(own_server.url, "second") as second:
        assert not (await asking(first, Provider(ready=True))).joined
        own_server.start()
        both = [flights._locks for flights in (first, second)]
        await eventually(lambda: all(one and one.listening.is_set() and not one._circuit.open for one in both))
        provider = Provider()
        asked = [await leading(first, provider, "1:acme:new"), await waiting(second, provider, "1:acme:new")]
        provider.ready.set()
        await asyncio.gather(*asked)
        assert provider.calls == 1


async def test_a_full_redis_shares_no_answers_but_lets_each_process_call_in_turn(
    first: Flights[str], second: Flights[str], redis: aioredis.Redis
) -> None:
    leader, other = Provider(), Provider(ready=True)
    asked = await leading(first, leader)
    waits = await waiting(second, other)
    await redis.config_set("maxmemory", 1)
    try:
        leader.ready.set()
        assert (await asked).answer == "four"
        assert (await waits).answer == "four"
        assert (leader.calls, other.calls) == (1, 1)
        await eventually(lambda: not (first._pilots or second._pilots))
        assert await redis.keys("aip:flight:*") == []
    finally:
        await redis.config_set("maxmemory", 0)


async def test_what_is_sent_twice_is_done_once(redis: aioredis.Redis) -> None:
    from infrastructure.core.logger_core import get_logger

    log = get_logger("ai-provider", "flights")
    mine, theirs = (
        Locks(redis, prefix="aip", owner=owner, lease_ms=5_000, heard=lambda _: None, log=log)
        for owner in ("mine", "theirs")
    )
    for _ in range(2):
        assert (await mine.acquire(KEY, "a")).word is Word.LEAD
    for _ in range(2):
        assert (await theirs.acquire(KEY, "b")).word is Word.BUSY
    assert (await mine.release(KEY, "a")).word is Word.HELD
    for _ in range(2):
        await theirs.leave(KEY)
    for _ in range(2):
        assert await mine.land(KEY, "a", b"answer", kept_ms=5_000) is True
    assert await theirs.land(KEY, "b", b"other", kept_ms=5_000) is False
    assert (await theirs.acquire(KEY, "c")).landed == b"answer"
    assert (await mine.abandon(KEY, "a")).word is Word.LOST  # what has landed stays
    assert (await theirs.acquire(KEY, "d")).landed == b"answer"
    await mine.close()
    await theirs.close()


async def test_a_flight_of_one_tenant_is_none_of_anothers(first: Flights[str], second: Flights[str]) -> None:
    providers = {tenant: Provider(f"for {tenant}") for tenant in ("acme", "zenith")}
    asked = {
        tenant: [asking(flights, provider, f"1:{tenant}:abc") for flights in (first, second)]
        for tenant, provider in providers.items()
    }
    await eventually(lambda: all(provider.calls for provider in providers.values()))
    for provider in providers.values():
        provider.ready.set()
    for tenant, tasks in asked.items():
        assert {one.answer for one in await asyncio.gather(*tasks)} == {f"for {tenant}"}


def test_text_travels_as_it_is() -> None:
    wire = TextWire()
    assert wire.answer(wire.fields("four")) == "four"


async def test_an_answer_that_was_there_already_is_ready_and_handed_over_for_keeping_once(
    first: Flights[str], second: Flights[str]
) -> None:
    provider, refilled = Provider(), []

    async def refill(answer: str) -> None:
        refilled.append(answer)

    def asked_of(flights: Flights[str]) -> asyncio.Task[Shared[str]]:
        return asyncio.create_task(flights.share(KEY, provider, deadline=soon(), refill=refill))

    leader = asked_of(first)
    await eventually(lambda: provider.calls == 1)
    waiter = asked_of(second)
    await eventually(lambda: KEY in second._pilots and second._pilots[KEY].waits)
    provider.ready.set()
    assert [(one.joined, one.ready) for one in (await leader, await waiter)] == [(False, False), (True, False)]
    await eventually(lambda: not first._pilots and not second._pilots)
    assert refilled == []
    later = await asyncio.gather(*(asked_of(second) for _ in range(5)))
    assert {(one.answer, one.joined, one.ready) for one in later} == {("four", True, True)}
    await eventually(lambda: refilled == ["four"])
    assert provider.calls == 1
