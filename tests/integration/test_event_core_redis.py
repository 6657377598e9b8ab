"""Events between processes over a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import redis.asyncio as aioredis

from infrastructure.core.redis_core import connect
from infrastructure.optional.event_core import Event, EventBus
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
MakeBus = Callable[[str, str], EventBus]


@pytest.fixture
async def make_bus() -> AsyncIterator[MakeBus]:
    async with AsyncExitStack() as stack:

        def make(source: str, url: str, *, prefix: str = "aip") -> EventBus:
            client = connect(url, max_connections=4)
            stack.push_async_callback(client.aclose)
            bus = EventBus(source, redis=client, prefix=prefix)
            stack.push_async_callback(bus.stop)
            bus.start()
            return bus

        yield make


async def connected(*buses: EventBus) -> None:
    for bus in buses:
        await eventually(lambda bus=bus: bus.get_metrics()["connected"], what="the subscription")  # type: ignore[misc]


async def test_the_fleet_hears_an_event_once_and_the_publisher_too(make_bus: MakeBus, redis_url: str) -> None:
    one, two = make_bus("one", redis_url), make_bus("two", redis_url)
    heard: list[tuple[str, int]] = []
    one.subscribe("n.*", lambda event: heard.append(("one", event.data["n"])))
    two.subscribe("n.*", lambda event: heard.append(("two", event.data["n"])))
    await connected(one, two)
    for number in range(50):
        one.publish("n.n", {"n": number})
    await eventually(lambda: len(heard) >= 100)
    assert [n for who, n in heard if who == "one"] == list(range(50))
    assert [n for who, n in heard if who == "two"] == list(range(50))
    assert two.get_metrics()["received"] == 50


async def test_another_prefix_hears_nothing(redis_url: str) -> None:
    async with aioredis.Redis.from_url(redis_url) as client:
        ours, theirs = EventBus("ours", redis=client, prefix="a"), EventBus("theirs", redis=client, prefix="b")
        heard: list[Event] = []
        theirs.subscribe("#", heard.append)
        for bus in (ours, theirs):
            bus.start()
        await connected(ours, theirs)
        ours.publish("x")
        theirs.publish("y")
        await eventually(lambda: heard)
        assert [event.topic for event in heard] == ["y"]
        for bus in (ours, theirs):
            await bus.stop()


async def test_foreign_words_on_the_channel_are_passed_over(
    make_bus: MakeBus, redis: aioredis.Redis, redis_url: str
) -> None:
    bus = make_bus("one", redis_url)
    heard: list[Event] = []
    bus.subscribe("#", heard.append)
    await connected(bus)
    event = b'{"id":"evt_1","topic":"bad","source":"x","at":"","data":%s}'
    poison = (
        b"\xff", b"[]", b"{}", b"1", b"null", b'{"id":1,"topic":"A B","source":"x","at":"","data":{}}',
        event % b"[[1,2]]", event % b'"ab"', event % b"[]", event % b"null", event.replace(b'"x"', b"[]") % b"{}",
        event % (b'{"text":"' + b"x" * 1_000_000 + b'"}'), event % (b"[" * 5_000), b'{"topic":"' + b"a." * 9_000,
    )  # fmt: skip
    for words in poison:
        await redis.publish("aip:events", words)
    await redis.publish("aip:events", b'{"id":"evt_1","topic":"good","source":"x","at":"","data":{}}')
    await eventually(lambda: heard)
    assert [event.topic for event in heard] == ["good"]


async def test_a_bus_that_stops_while_redis_hangs_leaves_nothing_running(make_bus: MakeBus) -> None:
    server = RedisServer().start()
    try:
        bus = make_bus("one", server.url)
        await connected(bus)
        server.freeze()
        bus.publish("a")
        bus.publish("b")
        await bus.stop(within_s=0.01)
        assert not [task for task in asyncio.all_tasks() if "_send_rest" in repr(task.get_coro())]
    finally:
        server.thaw()
        server.remove()


async def test_events_go_on_after_redis_was_away_and_publishing_did_not_wait(make_bus: MakeBus) -> None:
    server = RedisServer().start()
    try:
        one, two = make_bus("one", server.url), make_bus("two", server.url)
        heard: list[int] = []
        two.subscribe("#", lambda event: heard.append(event.data["n"]))
        await connected(one, two)
        server.kill()
        await eventually(lambda: not one.get_metrics()["connected"])
        one.publish("lost", {"n": 1})
        await eventually(lambda: one.get_metrics()["dropped"] == 1)
        server.start()
        await connected(one, two)
        one.publish("heard", {"n": 2})
        await eventually(lambda: heard == [2])
    finally:
        for bus in (one, two):
            await bus.stop()
        server.remove()
