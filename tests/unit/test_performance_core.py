"""The tracker: what it measures, what it sums up, and that it breaks nothing."""

from __future__ import annotations

import asyncio
import math
import random
import timeit
from collections.abc import Iterator

import orjson
import pytest

from infrastructure.core.config_core import Settings
from infrastructure.core.performance_core import (
    Histogram,
    Passed,
    PerformanceTracker,
    Snapshot,
    Thresholds,
    get_performance_tracker,
)
from infrastructure.core.performance_core import operations as op
from infrastructure.core.performance_core.alerting import log_passed
from infrastructure.core.performance_core.observing import apply_settings

pytestmark = pytest.mark.anyio
PROMPT = "tell me the planted secret"


class Clock:
    """Nanoseconds that pass when they are told to."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns

    def pass_ms(self, ms: float) -> None:
        self.ns += int(ms * 1e6)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tracker(clock: Clock) -> PerformanceTracker:
    return PerformanceTracker("test", clock_ns=clock)


def wired(tracker: PerformanceTracker) -> Snapshot:
    """Return a snapshot as another process reads it."""
    return Snapshot.of_wire(orjson.loads(orjson.dumps(tracker.snapshot().wire())))


def samples() -> Iterator[tuple[str, list[float]]]:
    """Yield kinds of durations: even, skewed, over many orders of magnitude, and all the same."""
    draw = random.Random(7)
    yield "even", [draw.uniform(1, 100) for _ in range(5_000)]
    yield "skewed", [draw.lognormvariate(3, 2) for _ in range(5_000)]
    yield "wide", [10 ** draw.uniform(-4, 7) for _ in range(5_000)]
    yield "same", [12.5] * 1_000


@pytest.mark.parametrize("values", [values for _, values in samples()], ids=[name for name, _ in samples()])
@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_a_percentile_is_within_two_percent(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    assert histogram.percentile(share) == pytest.approx(exact, rel=0.0201)
    assert histogram.average() == pytest.approx(sum(values) / len(values))
    assert histogram.most_ms == max(values)


def test_a_histogram_merged_over_processes_is_the_one_of_all_values() -> None:
    whole, parts = Histogram(), [Histogram() for _ in range(4)]
    for number, value in enumerate(next(samples())[1]):
        whole.add(value)
        parts[number % 4].add(value)
    together = Histogram()
    for part in parts:
        together.merge(Histogram.of_wire(orjson.loads(orjson.dumps(part.wire()))))
    assert together.buckets == whole.buckets
    assert (together.count, together.most_ms) == (whole.count, whole.most_ms)
    assert together.sum_ms == pytest.approx(whole.sum_ms)


def test_the_percentiles_of_a_single_value_are_that_value() -> None:
    histogram = Histogram()
    histogram.add(787.0)
    assert histogram.percentiles(0.5, 0.95, 0.99) == [787.0, 787.0, 787.0]


def test_an_empty_histogram_knows_nothing() -> None:
    assert (Histogram().average(), Histogram().percentile(0.5)) == (None, None)


def test_a_block_is_measured_in_milliseconds(tracker: PerformanceTracker, clock: Clock) -> None:
    with tracker.track_operation("ai_completion"):
        clock.pass_ms(850.2)
        assert tracker.get_summary()["operations"]["ai_completion"]["concurrent"] == 1
    shown = tracker.get_summary()["operations"]["ai_completion"]
    assert (shown["count"], shown["concurrent"], shown["peak_concurrent"]) == (1, 0, 1)
    for figure in ("average_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms", "total_ms"):
        assert shown[figure] == pytest.approx(850.2, rel=0.02)


async def test_an_async_block_is_measured_over_its_awaits_and_beside_others(
    tracker: PerformanceTracker, clock: Clock
) -> None:
    both = asyncio.Barrier(3)

    async def one() -> None:
        async with tracker.track_operation("ai_completion"):
            await both.wait()

    tasks = [asyncio.create_task(one()) for _ in range(2)]
    clock.pass_ms(0)
    await both.wait()
    await asyncio.gather(*tasks)
    shown = tracker.get_summary()["operations"]["ai_completion"]
    assert (shown["count"], shown["peak_concurrent"], shown["concurrent"]) == (2, 2, 0)


def test_a_measured_value_is_counted_as_it_is(tracker: PerformanceTracker) -> None:
    tracker.track_operation("cache_hit", 0.05)
    tracker.track_operation("cache_miss", 850.2)
    tracker.track_operation("provider_selection", 12.5)
    operations = tracker.get_summary()["operations"]
    assert {name: shown["average_ms"] for name, shown in operations.items()} == {
        "cache_hit": 0.05, "cache_miss": 850.2, "provider_selection": 12.5
    }  # fmt: skip


async def test_an_error_is_counted_by_its_type_and_comes_out_a_cancel_is_none(tracker: PerformanceTracker) -> None:
    with pytest.raises(ValueError, match=PROMPT), tracker.track_operation("call"):
        raise ValueError(PROMPT)
    with pytest.raises(asyncio.CancelledError):
        async with tracker.track_operation("call"):
            raise asyncio.CancelledError
    with tracker.track_operation("call") as operation:
        operation.fail("rate_limited")
    tracker.track_operation("call", 1.0, error="rate_limited")
    tracker.track_operation("call", 1.0)
    shown = tracker.get_summary()["operations"]["call"]
    assert shown["error_types"] == {"ValueError": 1, "rate_limited": 2}
    assert (shown["count"], shown["errors"], shown["cancelled"]) == (5, 3, 1)
    assert (shown["error_rate"], shown["success_rate"]) == (0.75, 0.25)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, "1", b"", [], 10**400, object()])
def test_no_value_breaks_the_work(tracker: PerformanceTracker, value: float) -> None:
    tracker.track_operation("call", value)
    shown = tracker.get_summary()["operations"]["call"]
    assert (shown["count"], shown["rejected"]) == (0, 1)


def test_the_recent_past_forgets_what_is_older_than_a_minute(tracker: PerformanceTracker, clock: Clock) -> None:
    for _ in range(100):
        tracker.track_operation("call", 10.0, error="Slow")
    for _ in range(30):
        tracker.tick()
        clock.pass_ms(3_000)
    for _ in range(60):
        tracker.track_operation("call", 20.0)
    shown = tracker.get_summary()["operations"]["call"]
    assert (shown["count"], shown["errors"]) == (160, 100)
    recent = shown["recent"]
    assert (recent["count"], recent["errors"]) == (60, 0)
    assert recent["average_ms"] == pytest.approx(20)
    assert 57_000 <= recent["window_ms"] <= 66_000
    assert shown["throughput_per_s"] == pytest.approx(60 / (recent["window_ms"] / 1_000), rel=0.01)


def test_the_summary_is_of_the_fleet_and_counts_each_process_once(tracker: PerformanceTracker, clock: Clock) -> None:
    others = [PerformanceTracker("test", clock_ns=clock) for _ in range(3)]
    for number, one in enumerate([tracker, *others]):
        for _ in range(10):
            one.track_operation("ai_completion", 100.0 * (number + 1))
    clock.pass_ms(10_000)
    for _ in range(3):  # hearing them again and again adds nothing
        tracker.hear(wired(one) for one in others)
    summary = tracker.get_summary()
    shown = summary["operations"]["ai_completion"]
    assert (summary["processes"], shown["count"], shown["average_ms"]) == (4, 40, 250.0)
    assert shown["throughput_per_s"] == pytest.approx(4.0)
    assert shown["p99_ms"] == pytest.approx(400, rel=0.02)
    restarted = PerformanceTracker("test", clock_ns=clock)
    tracker.hear([wired(restarted), *map(wired, others[1:])])
    assert tracker.get_summary()["operations"]["ai_completion"]["count"] == 30


def test_cpu_memory_and_network_are_measured(tracker: PerformanceTracker, clock: Clock) -> None:
    tracker.tick()
    clock.pass_ms(3_000)
    tracker.tick()
    used = tracker.get_summary()["resources"]
    assert used["memory_mb"] > 10
    assert used["cpu_percent"] >= 0
    assert used["threads"] >= 1
    assert set(used["network"]) == {"sent_bytes_per_s", "received_bytes_per_s"}
    assert all(value >= 0 for value in used["network"].values())


def test_a_threshold_is_told_once_until_it_was_left(tracker: PerformanceTracker, clock: Clock) -> None:
    told: list[Passed] = []
    tracker.on_alert(lambda _, one: told.append(one))
    limits = Thresholds(response_time_p95_ms=100, error_rate=0.5, cpu_percent=None, memory_percent=None)
    tracker.set_thresholds(limits)
    for _ in range(30):
        tracker.track_operation("call", 200.0)
    for _ in range(5):
        tracker.tick()
    (alert,) = told
    assert (alert.operation, alert.metric, alert.threshold) == ("call", "response_time_p95_ms", 100)
    assert alert.value == pytest.approx(200, rel=0.02)
    for _ in range(40):
        clock.pass_ms(3_000)
        tracker.track_operation("call", 1.0)
        tracker.tick()
    for _ in range(30):
        tracker.track_operation("call", 200.0)
    tracker.tick()
    assert len(told) == 2


@pytest.mark.parametrize("operation", ["provider_call.openai", "request.GET./api/v1/jobs/{job_id}", "process"])
def test_the_log_names_the_operation_whose_threshold_was_passed(
    operation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log_passed("test", Passed(operation=operation, metric="response_time_p95_ms", value=3.2, threshold=1.0))
    line = capsys.readouterr().out
    assert "withheld" not in line
    assert operation.rpartition(".")[2] in line
    assert '"value":3.2' in line


def test_bottlenecks_are_what_passes_a_limit_and_where_the_time_goes(tracker: PerformanceTracker) -> None:
    tracker.set_thresholds(Thresholds(response_time_p95_ms=100, error_rate=0.5, cpu_percent=None, memory_percent=None))
    for _ in range(30):
        tracker.track_operation("provider_call.openai", 150.0)
        tracker.track_operation("provider_call.google", 900.0)
        tracker.track_operation(op.QUEUE_WAIT, 30.0)
        tracker.track_operation(op.AI_COMPLETION, 90.0)
    found = tracker.get_summary()["bottlenecks"]
    assert [(one["operation"], one["metric"]) for one in found] == [
        ("provider_call.google", "response_time_p95_ms"),
        ("provider_call.openai", "response_time_p95_ms"),
        (op.AI_COMPLETION, "share_of_time"),
    ]
    assert found[-1]["value"] == 0.75


def test_many_at_once_pass_their_limit_too(tracker: PerformanceTracker) -> None:
    tracker.set_thresholds(Thresholds(concurrent_operations=1, memory_percent=None, cpu_percent=None))
    with tracker.track_operation("call"), tracker.track_operation("call"):
        (found,) = tracker.get_summary()["bottlenecks"]
    assert (found["metric"], found["value"]) == ("concurrent_operations", 2)


OPTIMIZATIONS = ("response_caching", "health_check_caching", "concurrent_health_checks", "optimized_provider_selection")


def test_an_optimization_that_was_not_measured_claims_nothing(tracker: PerformanceTracker) -> None:
    impacts = tracker.get_summary()["optimizations"]
    assert tuple(impacts) == OPTIMIZATIONS
    for impact in impacts.values():
        assert impact["enabled"] is False
        assert (impact["improvement"], impact["performance_improvement"]) == (None, "not measured yet")
    assert impacts["response_caching"]["cache_hit_rate"] is None


def test_the_impact_of_each_optimization_comes_from_measurements(tracker: PerformanceTracker) -> None:
    for name in OPTIMIZATIONS:
        tracker.set_optimization(name, enabled=True)
    tracker.set_optimization(OPTIMIZATIONS[3], enabled=True, selection_algorithm="composite_performance_score")
    for _ in range(9):
        tracker.track_operation(op.CACHE_HIT, 85.0)
        tracker.track_operation(op.CALL_SELECTED, 250.0)
    tracker.track_operation(op.CACHE_MISS, 850.0)
    for _ in range(4):
        tracker.track_operation(op.HEALTH_CACHE_HIT, 0.1)
        with tracker.track_operation(op.HEALTH_CHECK):
            pass
        tracker.track_operation(op.HEALTH_CHECK, 100.0)
    tracker.track_operation(op.HEALTH_CACHE_MISS, 100.0)
    tracker.track_operation(op.HEALTH_ROUND, 100.0)
    tracker.track_operation(op.PROVIDER_SELECTION, 12.5)
    tracker.track_operation(op.FAILOVER, 125.5)
    tracker.track_operation(op.CALL_EXPLORED, 1_000.0)
    impacts = tracker.get_summary()["optimizations"]
    assert impacts["response_caching"] == {
        "enabled": True, "cache_hit_rate": "90%", "improvement": 0.9,
        "performance_improvement": "90% faster for repeated requests",
    }  # fmt: skip
    assert impacts["health_check_caching"]["cache_hit_rate"] == "80%"
    assert impacts["health_check_caching"]["performance_improvement"] == "80% reduction in unnecessary API calls"
    assert impacts["concurrent_health_checks"]["concurrency_level"] == "1 providers"
    assert impacts["concurrent_health_checks"]["improvement"] == 0.75
    selection = impacts["optimized_provider_selection"]
    assert selection["selection_algorithm"] == "composite_performance_score"
    assert (selection["improvement"], selection["selection_ms"], selection["failover_ms"]) == (0.75, 12.5, 125.5)


def test_a_response_cache_that_has_hits_is_switched_on_unless_somebody_says_otherwise(
    tracker: PerformanceTracker,
) -> None:
    tracker.track_operation(op.CACHE_HIT, 85.0)
    assert tracker.get_summary()["optimizations"]["response_caching"]["enabled"] is True
    tracker.set_optimization("response_caching", enabled=False)
    assert tracker.get_summary()["optimizations"]["response_caching"]["enabled"] is False


def test_an_optimization_that_made_things_worse_says_so(tracker: PerformanceTracker) -> None:
    tracker.track_operation(op.CALL_SELECTED, 200.0)
    tracker.track_operation(op.CALL_EXPLORED, 100.0)
    assert tracker.get_summary()["optimizations"]["optimized_provider_selection"]["improvement"] == -1.0


def test_one_tracker_for_each_service_of_a_process() -> None:
    assert get_performance_tracker("service-a") is get_performance_tracker("service-a")
    assert get_performance_tracker("service-a") is not get_performance_tracker("service-b")


def test_an_operation_costs_little() -> None:
    tracker = PerformanceTracker("test")

    def one() -> None:
        with tracker.track_operation("call"):
            pass

    best_us = min(timeit.repeat(one, number=2_000, repeat=20)) / 2_000 * 1e6
    assert best_us < 50, best_us  # generous: `make bench` prints it, and the aim is 5


def test_the_settings_say_what_is_too_slow() -> None:
    apply_settings(
        Settings.model_validate(
            {"service": {"name": "limited"}, "resources": {"response_time_p95_ms": 7, "cpu_percent": None}}
        )
    )
    limits = get_performance_tracker("limited")._watch.thresholds
    assert (limits.response_time_p95_ms, limits.cpu_percent, limits.error_rate) == (7, None, 0.2)


def test_a_provider_is_shown_with_its_availability_and_what_a_token_costs(tracker: PerformanceTracker) -> None:
    other = PerformanceTracker("test")
    for one, cost in ((tracker, 0.002), (other, 0.004)):
        one.track_operation("provider_call.openai", 100.0)
        one.track_operation("provider_call.openai", 300.0, error="rate_limited")
        one.add_amount("cost_usd.openai", cost)
        one.add_amount("tokens.openai", 1_000)
        one.track_operation("provider_call.local", 5.0)
        one.add_amount("unpriced_calls.local", 1)
    tracker.hear([wired(other)])
    shown = tracker.get_summary()["providers"]
    assert shown["openai"]["cost_per_token_usd"] == pytest.approx(0.000003)
    assert (shown["openai"]["success_rate"], shown["openai"]["count"]) == (0.5, 4)
    assert (shown["local"]["cost_per_token_usd"], shown["local"]["unpriced_calls"]) == (None, 2)


async def test_the_guides_examples_of_tracking_run() -> None:
    async def completion() -> str:
        await asyncio.sleep(0)
        return "answer"

    performance_tracker = get_performance_tracker("ai-provider-of-the-guide")

    with performance_tracker.track_operation("ai_completion"):
        assert await completion() == "answer"

    performance_tracker.track_operation("cache_hit", 0.05)
    performance_tracker.track_operation("cache_miss", 850.2)
    performance_tracker.track_operation("provider_selection", 12.5)

    summary = performance_tracker.get_summary()
    assert set(summary["operations"]) == {"ai_completion", "cache_hit", "cache_miss", "provider_selection"}
    assert summary["optimizations"]["response_caching"]["cache_hit_rate"] == "50%"
    assert (
        summary["optimizations"]["response_caching"]["performance_improvement"] == "100% faster for repeated requests"
    )
