"""How long it takes to put a request's candidates in order: `Selector.order`, which every call waits for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

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
    """Print the times of many orders of 2 to 10 candidates, some of which cool down, beside those of doing nothing of the kind.

    A busy machine takes the core away in the midst of anything, the more often the longer it takes: the sum takes about as
    long as an order of ten, and says what of their p99 is the machine's. The thread's own time counts the least of that.
    """
    table = Table(
        f"{ORDERS:,} orders of a request's candidates, µs; in brackets, of the thread alone",
        ["candidates", "p50", "p99", "p99.9", "verdict"],
    )
    _row(table, "none: an empty function", _timed(lambda: None))
    _row(table, "none: a sum of 1,000 numbers", _timed(lambda: sum(range(1_000))))
    for count in (2, 3, 5, 10):
        _row(table, str(count), _timed(_order(count)))
    table.show()


def _timed(work: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Return the microseconds of each run: on the wall, and of the thread alone."""
    wall, alone = [], []
    for _ in range(WARM_UP + ORDERS):
        began, thread_began = time.perf_counter_ns(), time.thread_time_ns()
        work()
        thread_ended, ended = time.thread_time_ns(), time.perf_counter_ns()
        wall.append((ended - began) / 1_000)
        alone.append((thread_ended - thread_began) / 1_000)
    return wall[WARM_UP:], alone[WARM_UP:]


def _row(table: Table, what: str, times: tuple[list[float], list[float]]) -> None:
    """Add a row."""
    p50, p99, p999 = ([percentile(one, part) for one in times] for part in (0.5, 0.99, 0.999))
    verdict = "as promised" if p99[0] <= MOST_P99_US else f"expected at most {MOST_P99_US}"
    table.row(what, *(f"{wall:.1f} ({alone:.1f})" for wall, alone in (p50, p99, p999)), verdict)


def _order(count: int) -> Callable[[], object]:
    """Return what puts so many candidates in order."""
    dice, standings = random.Random(count), Standings(LocalGate())
    selector, selection = Selector(standings), Selection()
    targets = [_target(number) for number in range(count)]
    for target in targets:
        standings.learn(_state(target.name, dice))
    return lambda: selector.order(targets, SIZE, selection)


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
