"""What the infrastructure costs where it is used: a measured operation, a handled error."""

from __future__ import annotations

import logging
import os
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path

from infrastructure.core.error_core import ErrorHandler, StoreUnavailable
from infrastructure.core.logger_core import bound_contextvars, configure_logging, get_logger, logger_manager
from infrastructure.core.performance_core import PerformanceTracker, Thresholds
from tests.benchmarks.table import Table

RUNS = 1_000
REPEATS = 200


def cost_us(work: Callable[[], object], *, runs: int = RUNS) -> float:
    """Return the best of many short averages, in microseconds: what the work costs while nothing else has the core."""
    return min(timeit.repeat(work, number=runs, repeat=REPEATS)) / runs * 1e6


def measure_tracking() -> None:
    """Print the cost of one measured operation and of what goes with it."""
    tracker, errors = PerformanceTracker("bench"), ErrorHandler("bench")
    fault = StoreUnavailable("x")
    errors.alert_above(10_000, window_s=1)
    tracker.set_thresholds(Thresholds(response_time_p95_ms=1e9, cpu_percent=None, memory_percent=None))

    def block() -> None:
        with tracker.track_operation("ai_completion"):
            pass

    table = Table("measuring", ["", "µs"])
    table.row("with track_operation(name) (at most 5)", f"{cost_us(block):.2f}")
    table.row("track_operation(name, value_ms)", f"{cost_us(lambda: tracker.track_operation('cache_hit', 0.05)):.2f}")
    table.row("error_handler.handle(exc)", f"{cost_us(lambda: errors.handle(fault)):.2f}")
    for number in range(50):
        for value in range(200):
            tracker.track_operation(f"operation_{number}", 1.07**value)
    table.row("one tick of 50 operations (every 3 s)", f"{cost_us(tracker.tick, runs=1):.0f}")
    table.row("get_summary() of 50 operations", f"{cost_us(tracker.get_summary, runs=1):.0f}")
    table.show()


def measure_logging() -> None:
    """Print the cost of one line, written to nowhere, and of lines that nobody hears."""
    logger, library = get_logger("ai-provider", "bench"), logging.getLogger("some.library")
    context = {"provider": "openai", "status": "healthy", "response_time_ms": 150.2, "success_rate": 0.98}

    def line() -> None:
        logger.info("Provider health check completed", context=context)

    table = Table("logging", ["", "µs"])
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, tempfile.TemporaryDirectory() as folder:
        configure_logging("ai-provider", stream=nowhere)
        table.row("one line", f"{cost_us(line, runs=200):.1f}")
        with bound_contextvars(request_id="req_0123456789ab00000001", job_id=f"job_{'0' * 32}", tenant="default"):
            table.row("one line with three ids", f"{cost_us(line, runs=200):.1f}")
        table.row("one line of a library", f"{cost_us(lambda: library.warning('%d tries', 3), runs=200):.1f}")
        table.row("one line below the level", f"{cost_us(lambda: logger.debug('Unheard')):.2f}")
        configure_logging("ai-provider", stream=nowhere, output_dir=folder)
        table.row("one line, to a file as well", f"{cost_us(line, runs=200):.1f}")
        logger_manager.close()
    table.show()


def measure() -> None:
    """Print every cost; each part of the infrastructure has its own table."""
    measure_tracking()
    measure_logging()
