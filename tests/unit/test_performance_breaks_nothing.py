"""Measuring never breaks what it measures, and what cannot be read of another process breaks no account of the fleet."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
from collections.abc import Generator
from decimal import Decimal
from typing import Any

import orjson
import pytest
import zstandard

from infrastructure.core.performance_core import Passed, PerformanceTracker, Snapshot, Thresholds
from infrastructure.core.performance_core.fleet import MOST_BYTES, _opened
from infrastructure.core.performance_core.histogram import ERROR, MOST_MS, Histogram, spread
from infrastructure.core.performance_core.merging import merged

pytestmark = pytest.mark.anyio
PROMPT = "tell me the planted secret"


@pytest.fixture
def tracker() -> PerformanceTracker:
    return PerformanceTracker("test")


class Cycle:
    """Holds a generator that nobody will finish, in a cycle: only the collector ends its block."""

    def __init__(self, block: Generator[None]) -> None:
        next(block)
        self.block, self.me = block, self


def test_a_block_that_the_collector_ends_while_figures_are_read_holds_nobody_up(tracker: PerformanceTracker) -> None:
    def block() -> Generator[None]:
        with tracker.track_operation("call"):
            yield

    def work() -> None:
        for _ in range(300):
            Cycle(block())
            tracker.track_operation("call", 1.0)
            tracker.snapshot()

    before = gc.get_threshold()
    worker = threading.Thread(target=work, daemon=True)
    gc.set_threshold(1)
    try:
        worker.start()
        worker.join(10)
    finally:
        gc.set_threshold(*before)
    assert not worker.is_alive()
    gc.collect()
    shown = tracker.get_summary()["operations"]["call"]
    assert (shown["count"], shown["cancelled"], shown["concurrent"]) == (600, 300, 0)


@pytest.mark.parametrize("error", [["a"], {}, 7, b"x", "a sentence"])
def test_no_error_type_breaks_the_work(tracker: PerformanceTracker, error: Any) -> None:
    with tracker.track_operation("call") as operation:
        operation.fail(error)
    tracker.track_operation("call", 1.0, error=error)
    shown = tracker.get_summary()["operations"]["call"]
    assert (shown["count"], shown["error_types"], shown["concurrent"]) == (2, {"other": 2}, 0)


@pytest.mark.parametrize("value", [1e300, MOST_MS * 1.01, Decimal(5)])
def test_a_value_that_cannot_be_counted_changes_nothing(tracker: PerformanceTracker, value: Any) -> None:
    tracker.track_operation("call", value)
    tracker.track_operation("call", MOST_MS)
    shown = tracker.get_summary()["operations"]["call"]
    assert (shown["count"], shown["rejected"], shown["p99_ms"]) == (1, 1, MOST_MS)


def test_amounts_without_end_break_no_account(tracker: PerformanceTracker) -> None:
    tracker.track_operation("provider_call.openai", 1.0)
    for _ in range(3):
        tracker.add_amount("tokens.openai", 1e308)
    assert tracker.get_summary()["providers"]["openai"]["tokens"] == int(1e308)


async def test_blocks_in_blocks_are_measured_each_and_a_group_of_errors_is_one(tracker: PerformanceTracker) -> None:
    with pytest.raises(ExceptionGroup), tracker.track_operation("outer"):
        async with tracker.track_operation("inner"), asyncio.TaskGroup() as group:
            group.create_task(_fail())
    operations = tracker.get_summary()["operations"]
    assert [operations[name]["error_types"] for name in ("outer", "inner")] == [{"ExceptionGroup": 1}] * 2


async def _fail() -> None:
    raise ValueError


@pytest.mark.parametrize("values", [[0.0], [MOST_MS], [0.0, MOST_MS], [1.0, 1.0]])
def test_percentiles_at_the_edges_are_values_that_there_were(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    found = histogram.percentiles(0.0, 0.5, 0.95, 1.0)
    assert found[0] == pytest.approx(values[0], rel=0.0201, abs=1e-4)
    assert found[-1] == values[-1]


def _changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    other = PerformanceTracker("test")
    other.track_operation("call", 1.0)
    wire: dict[str, Any] = orjson.loads(orjson.dumps(other.snapshot().wire()))
    at = wire
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return wire


TIMES = ("operations", "call", "total", "times")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("error",), ERROR / 2), ((*TIMES, "b"), [100_000, 1]), ((*TIMES, "b"), [1]), ((*TIMES, "b"), [1, 2]),
        ((*TIMES, "b"), [1, 2, 3, -1]), ((*TIMES, "sum"), "nan"), ((*TIMES, "most"), 1e300), ((*TIMES, "n"), None),
    ],
)  # fmt: skip
def test_a_process_whose_histograms_are_not_like_ours_is_left_out(path: tuple[str, ...], value: Any) -> None:
    told = {"kind": "x", "sections": {}, "performance": _changed(path, value)}
    assert _opened("worker@other", 0, zstandard.compress(orjson.dumps(told))) is None


def test_a_process_that_does_not_say_how_its_histograms_are_made_has_ours() -> None:
    wire = _changed(("uptime_ms",), 7)
    del wire["error"]
    assert Snapshot.of_wire(wire).uptime_ms == 7


def test_what_would_unpack_to_more_than_any_process_says_is_left_out() -> None:
    bomb = zstandard.compress(b'{"kind":"' + b"0" * MOST_BYTES + b'"}')
    assert _opened("worker@bomb", 0, bomb) is None


@pytest.mark.parametrize(
    "caching",
    [[1], "text", 7, {"hits": {"l1": {"x": 1}}, "misses": 1}, {"hits": 1, "misses": {"x": 1}}, {"hits": None, "misses": 1}],
)  # fmt: skip
def test_sections_of_another_form_break_no_account(caching: Any) -> None:
    told: dict[str, Any] = {"web@a": {"caching": {"hits": {"l1": 1}, "misses": 1}}, "worker@b": {"caching": caching}}
    assert merged(told, "caching")["by_instance"]["web@a"] == {"hits": {"l1": 1}, "misses": 1}


def test_histograms_of_sections_merge_with_their_percentiles() -> None:
    few, many = Histogram(), Histogram()
    for value_ms in range(1, 101):
        (many if value_ms > 10 else few).add(value_ms)
    told = {f"web@{n}": {"caching": {"age_at_hit": spread(one, buckets=True)}} for n, one in enumerate((few, many))}
    told["web@bad"] = {"caching": {"age_at_hit": {"buckets": {"n": 1}}}}
    section = merged(told, "caching")
    whole = section["fleet"]["age_at_hit"]
    assert (whole["count"], whole["average_ms"]) == (100, 50.5)
    assert [whole["p50_ms"], whole["p95_ms"], whole["p99_ms"]] == pytest.approx([50, 95, 99], rel=0.02)
    assert section["by_instance"]["web@0"]["age_at_hit"] == spread(few)


def test_an_alert_is_told_again_only_after_the_limit_was_left_by_a_tenth(tracker: PerformanceTracker) -> None:
    told: list[Passed] = []
    tracker.on_alert(lambda _, one: told.append(one))
    limits = {"response_time_p95_ms": None, "error_rate": None, "cpu_percent": None, "memory_percent": None}
    tracker.set_thresholds(Thresholds(**limits, concurrent_operations=10))

    def run(together: int) -> int:
        blocks = [tracker.track_operation("call") for _ in range(together)]
        for block in blocks:
            block.__enter__()
        tracker.tick()
        for block in blocks:
            block.__exit__(None, None, None)
        return len(told)

    assert [run(together) for together in (10, 11, 12, 10, 11, 9, 11)] == [0, 1, 1, 1, 1, 1, 2]


@pytest.mark.parametrize("name", ["", PROMPT, "x" * 500, None, 7, [], {}, "a\nb"])
def test_no_name_breaks_the_work_nor_shows_a_text(tracker: PerformanceTracker, name: str) -> None:
    tracker.track_operation(name, 1.0)
    with tracker.track_operation(name):
        pass
    assert list(tracker.get_summary()["operations"]) == ["other"]
    assert "planted" not in str(tracker.get_summary())


def test_names_and_error_types_without_end_are_counted_together(tracker: PerformanceTracker) -> None:
    for number in range(2_000):
        tracker.track_operation(f"operation_{number}", 1.0)
        tracker.track_operation("call", 1.0, error=f"Error{number}")
        tracker.track_operation("call", 1.0, error=PROMPT)
    operations = tracker.get_summary()["operations"]
    assert len(operations) <= 301
    assert operations["other"]["count"] > 1_000
    assert len(operations["call"]["error_types"]) <= 51
    assert PROMPT not in operations["call"]["error_types"]


def test_threads_lose_no_count(tracker: PerformanceTracker) -> None:
    def work() -> None:
        for _ in range(5_000):
            with tracker.track_operation("call"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shown = tracker.get_summary()["operations"]["call"]
    assert (shown["count"], shown["concurrent"]) == (20_000, 0)


def test_a_system_that_tells_nothing_breaks_nothing(
    tracker: PerformanceTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    def refuse(*_: object) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "Process", refuse)
    tracker.tick()
    assert tracker.get_summary()["resources"]["memory_mb"] is None


def test_a_hook_that_fails_breaks_neither_the_tick_nor_the_next_hook(tracker: PerformanceTracker) -> None:
    told: list[Passed] = []

    def broken(*_: object) -> None:
        raise RuntimeError

    tracker.on_alert(broken)
    tracker.on_alert(lambda _, one: told.append(one))
    tracker.set_thresholds(Thresholds(memory_percent=0.0))
    tracker.tick()
    assert [(one.operation, one.metric) for one in told] == [("process", "memory_percent")]


def test_too_few_operations_say_nothing_and_a_limit_that_is_none_is_no_limit(tracker: PerformanceTracker) -> None:
    told: list[Passed] = []
    tracker.on_alert(lambda _, one: told.append(one))
    tracker.set_thresholds(Thresholds(response_time_p95_ms=1, error_rate=None, memory_percent=None, cpu_percent=None))
    for _ in range(5):
        tracker.track_operation("slow", 1_000.0)
    for _ in range(50):
        tracker.track_operation("wrong", 0.5, error="Wrong")
    tracker.tick()
    assert told == []


def test_sections_of_processes_add_up_where_they_count() -> None:
    told: dict[str, Any] = {
        "web": {
            "logging": {
                "lines": {"INFO": 3},
                "bytes": 10,
                "error_rate": 0.5,
                "level": 20,
                "average_ms": 4.0,
                "load_ms": {"last": 3},
                "cache": {"hits": {"l1": 2}, "misses": 2},
            }
        },
        "worker": {"logging": {"lines": {"INFO": 4, "ERROR": 1}, "bytes": 5, "error_rate": 0.1, "file": "x"}},
        "other": {"caching": {}},
    }
    section = merged(told, "logging")
    cache = {"hits": {"l1": 2}, "misses": 2, "hit_ratio": 0.5}
    assert section["fleet"] == {"lines": {"INFO": 7, "ERROR": 1}, "bytes": 15, "cache": cache}
    assert set(section["by_instance"]) == {"web", "worker"}
    assert merged(told, "caching") == {"fleet": {}, "by_instance": {}}


@pytest.mark.parametrize("amount", [math.nan, math.inf, "1", None])
def test_no_amount_breaks_the_work(tracker: PerformanceTracker, amount: float) -> None:
    tracker.add_amount("cost_usd.openai", amount)
    tracker.add_amount(PROMPT, 1)
    assert tracker.snapshot().amounts == {}
