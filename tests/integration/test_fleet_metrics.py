"""Metrics of processes in a real Redis: published, read by whoever answers, gone with their process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from infrastructure.core.error_core import StoreUnavailable, get_error_handler
from infrastructure.core.performance_core import (
    FleetMetrics,
    Observation,
    PerformanceTracker,
    get_performance_tracker,
    process_instance,
)
from infrastructure.core.performance_core.observation import Section
from infrastructure.core.redis_core import connect
from tests.support.machine import in_time
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
FAST_S = 0.2


def tracked(*values_ms: float) -> PerformanceTracker:
    """Return the tracker of some other process, which measured these completions."""
    tracker = PerformanceTracker("elsewhere")
    for value_ms in values_ms:
        tracker.track_operation("ai_completion", value_ms)
    return tracker


@pytest.fixture
def fleet(redis: Redis) -> FleetMetrics:
    return FleetMetrics(redis, prefix="aip")


@pytest.fixture
async def observation(redis: Redis, request: pytest.FixtureRequest) -> AsyncIterator[Observation]:
    service = request.node.name[:60]
    sections: dict[str, Section] = {
        "logging": lambda: {"lines": {"INFO": 2}},
        "caching": lambda: {"hits": 3, "misses": 1},
    }
    one = Observation(
        service, redis=redis, prefix="aip", kind="web", instance="web@a", sections=sections, interval_s=FAST_S
    )
    yield one
    await one.stop()


async def test_what_a_process_publishes_another_reads(fleet: FleetMetrics, redis: Redis) -> None:
    await fleet.publish("worker@b", "completions", tracked(100, 300).snapshot(), {"logging": {"lines": 7}})
    (found,) = await fleet.read()
    assert (found.instance, found.kind, found.sections) == ("worker@b", "completions", {"logging": {"lines": 7}})
    assert found.performance.operations["ai_completion"].total.durations.count == 2
    assert 0 <= found.age_ms < 5_000
    assert set(await redis.keys("*")) == {b"aip:metrics", b"aip:metrics:worker@b"}
    assert all([0 < await redis.pttl(key) <= 15_000 for key in await redis.keys("*")])


async def test_publishing_again_replaces_and_never_adds(fleet: FleetMetrics) -> None:
    for _ in range(5):
        await fleet.publish("worker@b", "completions", tracked(100).snapshot(), {})
    (found,) = await fleet.read()
    assert found.performance.operations["ai_completion"].total.durations.count == 1


async def test_a_process_that_died_is_gone_soon_and_one_that_left_at_once(fleet: FleetMetrics, redis: Redis) -> None:
    await FleetMetrics(redis, prefix="aip", interval_s=FAST_S).publish("worker@dead", "x", tracked(1).snapshot(), {})
    await fleet.publish("worker@left", "completions", tracked(1).snapshot(), {})
    await fleet.remove("worker@left")
    assert [one.instance for one in await fleet.read()] == ["worker@dead"]

    async def empty() -> bool:
        return await fleet.read() == []

    await eventually(empty, within_s=5)


async def test_what_cannot_be_read_is_left_out(fleet: FleetMetrics, redis: Redis) -> None:
    for number, raw in enumerate((b"", b"\x00garbage", b"{}", b"\x28\xb5\x2f\xfd")):
        await fleet.publish(f"worker@{number}", "completions", tracked(1).snapshot(), {})
        await redis.set(f"aip:metrics:worker@{number}", raw, keepttl=True)
    await fleet.publish("worker@good", "completions", tracked(1).snapshot(), {})
    assert [one.instance for one in await fleet.read()] == ["worker@good"]


async def test_nobody_has_published_yet(fleet: FleetMetrics) -> None:
    assert await fleet.read() == []


async def test_the_four_sections_are_of_the_fleet(observation: Observation, fleet: FleetMetrics) -> None:
    observation.tracker.track_operation("ai_completion", 200.0)
    observation.errors.handle(ValueError("planted"))
    others: dict[str, Any] = {"logging": {"lines": {"INFO": 5, "ERROR": 1}}, "caching": {"hits": 0, "misses": 4},
                              "errors": {"total": 4, "by_code": {"store_full": 4}}}  # fmt: skip
    for name in ("worker@b", "worker@c"):
        await fleet.publish(name, "completions", tracked(100, 300).snapshot(), others)
    await observation.publish()
    for _ in range(2):
        metrics = await observation.get_metrics()
        assert set(metrics) == {"logging", "configuration", "caching", "performance", "instances"}
        assert metrics["logging"]["fleet"] == {"lines": {"INFO": 12, "ERROR": 2}}
        assert metrics["caching"]["fleet"] == {"hits": 3, "misses": 9, "hit_ratio": 0.25}
        assert set(metrics["caching"]["by_instance"]) == {"web@a", "worker@b", "worker@c"}
        completion = metrics["performance"]["operations"]["ai_completion"]
        assert (metrics["performance"]["processes"], completion["count"], completion["average_ms"]) == (3, 5, 200.0)
        errors = metrics["performance"]["errors"]["fleet"]
        assert (errors["total"], errors["by_code"]) == (9, {"store_full": 8, "internal_error": 1})
        ages = {one["instance"]: one["age_ms"] for one in metrics["instances"]}
        assert set(ages) == {"web@a", "worker@b", "worker@c"}
        assert all(0 <= age < 5_000 for age in ages.values())
    assert "planted" not in str(metrics)


async def test_a_section_that_fails_hurts_no_other(redis: Redis) -> None:
    def broken() -> dict[str, Any]:
        raise ValueError("planted")

    sections = {"logging": broken, "caching": lambda: {"hits": 1}}
    one = Observation("broken-section", redis=redis, prefix="aip", kind="web", instance="web@a", sections=sections)
    await one.publish()
    metrics = await one.get_metrics()
    assert metrics["logging"]["by_instance"]["web@a"] == {"error_type": "ValueError"}
    assert metrics["caching"]["fleet"]["hits"] == 1
    assert "planted" not in str(metrics)


async def test_a_started_observation_publishes_until_it_is_stopped(
    observation: Observation, fleet: FleetMetrics, redis: Redis
) -> None:
    observation.start()
    seen = await eventually(fleet.read)
    assert [one.instance for one in seen] == ["web@a"]
    observation.tracker.track_operation("ai_completion", 1.0)

    async def newer() -> bool:
        return any("ai_completion" in one.performance.operations for one in await fleet.read())

    await eventually(newer)
    await observation.stop()
    assert await redis.keys("*") == []


async def test_publishing_goes_on_after_redis_was_away() -> None:
    server = RedisServer().start()
    client = connect(server.url, max_connections=2, wait_s=1, socket_timeout_s=1)
    one = Observation("away", redis=client, prefix="aip", kind="web", instance="web@a", sections={}, interval_s=FAST_S)
    fleet = FleetMetrics(client, prefix="aip")

    async def there() -> bool:
        try:
            return bool(await fleet.read())
        except StoreUnavailable:
            return False

    try:
        one.start()
        await eventually(there)
        server.kill()
        with pytest.raises(StoreUnavailable):
            await one.publish()
        server.start()
        await eventually(there)
    finally:
        await one.stop()
        await client.aclose()
        server.remove()


async def test_stopping_while_redis_is_away_takes_a_moment_only() -> None:
    client = connect("unix:///nonexistent/r.sock", max_connections=2, wait_s=1, socket_timeout_s=1)
    one = Observation("gone", redis=client, prefix="aip", kind="web", instance="web@a", sections={})
    one.start()
    began = time.monotonic()
    await one.stop()
    assert in_time(time.monotonic() - began, 4)
    await client.aclose()


def test_a_process_has_one_name_for_each_kind_of_work() -> None:
    assert process_instance("web") == process_instance("web")
    assert process_instance("web").startswith("web@")
    assert process_instance("web").split("@")[1] != process_instance("other").split("@")[1]


async def test_an_observation_uses_the_services_own_tracker_and_handler(redis: Redis) -> None:
    one = Observation("svc", redis=redis, prefix="aip", kind="web", instance="web@a", sections={})
    assert one.tracker is get_performance_tracker("svc")
    assert one.errors is get_error_handler("svc")
