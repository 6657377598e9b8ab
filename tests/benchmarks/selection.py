"""How long it takes to put a request's candidates in order: `Selector.order`, which every call waits for."""

from __future__ import annotations

import random
import time

from infrastructure.core.config_core import Provider
from infrastructure.core.config_core.sections import Selection
from infrastructure.core.config_core.settings import Price
from tests.benchmarks.table import Table
from tests.support.steady import percentile
from workers.jobs.gate.local_gate import LocalGate
from workers.jobs.gate.models import Breaker, TargetState
from workers.providers.calls import Target
from workers.providers.estimate import Size
from workers.providers.library import UNKNOWN
from workers.providers.selection.selector import Selector
from workers.providers.selection.standings import Standings

ORDERS = 50_000
WARM_UP = 2_000
SIZE = Size(chars=2_000, pictures=0, choices=1, most_tokens=None)
MOST_P99_US = 50


def measure() -> None:
    """Print the times of many orders of 2, 5 and 10 candidates, some of which cool down."""
    table = Table(
        f"{ORDERS:,} orders of a request's candidates", ["candidates", "p50 µs", "p99 µs", "p99.9 µs", "verdict"]
    )
    for count in (2, 5, 10):
        times = _times(count)
        p50, p99, p999 = (percentile(times, part) for part in (0.5, 0.99, 0.999))
        verdict = "as promised" if p99 <= MOST_P99_US else f"expected at most {MOST_P99_US} µs"
        table.row(count, f"{p50:.1f}", f"{p99:.1f}", f"{p999:.1f}", verdict)
    table.show()


def _times(count: int) -> list[float]:
    """Return the microseconds of each order."""
    dice, standings = random.Random(count), Standings(LocalGate())
    selector, selection = Selector(standings), Selection()
    targets = [_target(number) for number in range(count)]
    for target in targets:
        standings.learn(_state(target.name, dice))
    times = []
    for _ in range(WARM_UP + ORDERS):
        began = time.perf_counter_ns()
        selector.order(targets, SIZE, selection)
        times.append((time.perf_counter_ns() - began) / 1_000)
    return times[WARM_UP:]


def _target(number: int) -> Target:
    provider = Provider(priority=1 + number // 4, prices={"m": Price(input=1 + number, output=2 + number)})
    return Target(f"p{number}", "m", provider, UNKNOWN)


def _state(provider: str, dice: random.Random) -> TargetState:
    """Return how a candidate stands; one of five is down."""
    down = dice.random() < 1 / 5
    return TargetState(
        provider=provider,
        model="m",
        breaker=Breaker.OPEN if down else Breaker.CLOSED,
        next_probe_ms=3_600_000 if down else None,
        success=dice.uniform(0.9, 1),
        latency_ms=dice.uniform(200, 2_000),
        in_flight=dice.randrange(50),
    )
