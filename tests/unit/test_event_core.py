"""Events within one process: patterns, filters, and subscribers that hurt nobody."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest

from infrastructure.optional.event_core import Event, EventBus, NullPublisher, Publisher, matches
from tests.support.machine import in_time
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def bus() -> AsyncIterator[EventBus]:
    bus = EventBus("test-1")
    bus.start()
    yield bus
    await bus.stop()


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("provider.failover", "provider.failover", True),
        ("provider.failover", "provider.failovers", False),
        ("provider.*", "provider.failover", True),
        ("provider.*", "provider", False),
        ("provider.*", "provider.a.b", False),
        ("*.failover", "provider.failover", True),
        ("worker.#", "worker", True),
        ("worker.#", "worker.ready", True),
        ("worker.#", "worker.pool.full", True),
        ("worker.#", "workers.ready", False),
        ("#", "anything.at.all", True),
        ("#.full", "worker.pool.full", True),
        ("#.full", "full", True),
        ("a.#.c", "a.c", True),
        ("a.#.c", "a.b.b.c", True),
        ("a.#.c", "a.b.b", False),
        ("#.#.#.#.#.#.x", "a.b.c.d.e.f.g.h", False),
    ],
)
def test_patterns_mean_topics(pattern: str, topic: str, fits: bool) -> None:
    assert matches(pattern, topic) is fits


@pytest.mark.parametrize("pattern", ["", ".", "a..b", "a.", "A.b", "a*", "a b", "a.**"])
async def test_what_is_no_pattern_is_refused(bus: EventBus, pattern: str) -> None:
    with pytest.raises(ValueError, match="expected a pattern"):
        bus.subscribe(pattern, lambda _: None)


async def test_subscribers_get_what_they_asked_for_in_order(bus: EventBus) -> None:
    got: list[tuple[str, int]] = []
    bus.subscribe(
        "job.*", lambda event: got.append((event.topic, event.data["n"])), where=lambda e: e.data["n"] % 2 == 0
    )
    for number in range(6):
        bus.publish("job.done", {"n": number})
        bus.publish("other.done", {"n": number})
    await eventually(lambda: len(got) == 3)
    assert got == [("job.done", 0), ("job.done", 2), ("job.done", 4)]


async def test_an_event_says_what_where_and_when(bus: EventBus) -> None:
    got: list[Event] = []
    bus.subscribe("#", got.append)
    bus.publish("worker.ready", {"owner": "w1"})
    await eventually(lambda: got)
    assert got[0].as_json() == {
        "id": got[0].id, "topic": "worker.ready", "source": "test-1", "at": got[0].at, "data": {"owner": "w1"},
    }  # fmt: skip
    assert got[0].at.endswith("Z")


async def test_a_failing_and_a_slow_subscriber_hurt_nobody(bus: EventBus) -> None:
    got: list[int] = []
    stuck = asyncio.Event()

    def fail(_: Event) -> None:
        raise RuntimeError("no")

    def unsure(_: Event) -> bool:
        raise RuntimeError("no")

    failing = bus.subscribe("#", fail)
    doubting = bus.subscribe("#", lambda _: None, where=unsure)
    slow = bus.subscribe("#", lambda _: stuck.wait(), queue=10)
    bus.subscribe("#", lambda event: got.append(event.data["n"]), queue=1000)
    for number in range(100):
        bus.publish("n", {"n": number})
    await eventually(lambda: len(got) == 100)
    assert got == list(range(100))
    await eventually(lambda: failing.failed == 100)
    assert (doubting.failed, slow.handled) == (100, 0)
    assert slow.dropped == 90
    assert bus.get_metrics()["dropped"] == 90


async def test_a_call_that_takes_too_long_is_stopped(bus: EventBus) -> None:
    got: list[int] = []

    async def handle(event: Event) -> None:
        if event.data["n"] == 0:
            await asyncio.sleep(60)
        got.append(event.data["n"])

    slow = bus.subscribe("#", handle, deadline_s=0.05)
    bus.publish("n", {"n": 0})
    bus.publish("n", {"n": 1})
    await eventually(lambda: got == [1])
    assert (slow.failed, slow.handled) == (1, 1)


async def test_nothing_is_heard_after_unsubscribing(bus: EventBus) -> None:
    got: list[Event] = []
    bus_subscription = bus.subscribe("#", got.append)
    await bus.unsubscribe(bus_subscription)
    bus.publish("a.b")
    assert bus.get_metrics()["subscribers"] == []
    assert got == []


async def test_publishing_never_fails(bus: EventBus) -> None:
    bus.publish("Not A Topic")
    bus.publish("big", {"text": "x" * 20_000})
    bus.publish("odd", {"value": object()})
    bus.publish("a." * 64 + "a")
    for topic, data in ((None, None), ("a", 5), ("a", [1]), ("a", {1: 2}), ("a", {"text": "\ud800"})):
        bus.publish(topic, data)  # type: ignore[arg-type]
    assert bus.get_metrics() == {
        "published": 0, "received": 0, "dropped": 0, "refused": 9, "connected": False, "subscribers": [],
    }  # fmt: skip


async def test_a_handler_whose_work_was_cancelled_by_others_is_called_again(bus: EventBus) -> None:
    got: list[int] = []

    async def handle(event: Event) -> None:
        got.append(event.data["n"])
        if event.data["n"] == 0:
            lost = asyncio.ensure_future(asyncio.sleep(60))
            lost.cancel()
            await lost

    subscription = bus.subscribe("#", handle)
    for number in range(3):
        bus.publish("n", {"n": number})
    await eventually(lambda: got == [0, 1, 2])
    assert (subscription.failed, subscription.handled) == (1, 2)


async def test_what_a_publisher_or_a_subscriber_changes_is_not_seen_by_the_next(bus: EventBus) -> None:
    got: list[dict[str, object]] = []
    bus.subscribe("#", lambda event: event.data.clear())  # type: ignore[attr-defined]
    bus.subscribe("#", lambda event: got.append(dict(event.data)))
    numbers = [1]
    bus.publish("n", {"numbers": numbers, "at": (1, 2)})
    numbers.append(2)
    await eventually(lambda: got)
    assert got == [{"numbers": [1], "at": [1, 2]}]


def test_no_pattern_is_slow_on_any_topic() -> None:
    started = time.perf_counter()
    assert not matches("#.a." * 40 + "b", ".".join("a" * 2_000))
    assert matches(".".join("a" * 2_000), ".".join("a" * 2_000))
    assert in_time(time.perf_counter() - started, 5)


async def test_events_of_another_thread_are_heard(bus: EventBus) -> None:
    got: list[Event] = []
    bus.subscribe("#", got.append)
    thread = threading.Thread(target=bus.publish, args=("from.a.thread",))
    thread.start()
    await eventually(lambda: got)
    thread.join()


async def test_a_bus_that_does_not_run_says_so() -> None:
    bus = EventBus("test")
    with pytest.raises(RuntimeError, match="expected the event bus to run"):
        bus.ping()
    bus.start()
    bus.ping()
    await bus.stop()
    with pytest.raises(RuntimeError, match="expected the event bus to run"):
        bus.ping()


async def test_null_and_real_publisher_take_the_same(bus: EventBus) -> None:
    publishers: list[Publisher] = [NullPublisher(), bus]
    for publisher in publishers:
        publisher.publish("a.b", {"n": 1})
        publisher.publish("a.b")
        publisher.publish("no topic")
