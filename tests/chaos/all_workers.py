"""All workers and upkeep killed at once and started again, again and again, while jobs come in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tests.chaos.harness.census import Ends, judged, unended, wait_until_ended
from tests.chaos.harness.deployment import FAST, Deployment
from tests.chaos.harness.stream import Stream
from tests.chaos.rows import Row, at_least, at_most, scaled
from tests.chaos.worker_kills import death_of
from tests.support.waiting import wait_for

TIMES, JOBS_EACH, WORKERS = 10, 30, 3


def run(scale: float) -> Sequence[Row]:
    """Kill all of them 10 times."""
    return kill_all(times=scaled(TIMES, scale))


def kill_all(*, times: int) -> list[Row]:
    """Kill all workers so many times, each time with calls in flight."""
    ids: dict[str, str] = {}
    in_flight = 0
    with Deployment(latency_s=(1.0, 2.0), variables=FAST) as there, Ends(there) as ends:
        there.start(workers=WORKERS)
        for _ in range(times):
            stream = Stream(there.url, JOBS_EACH)
            stream.wait(within_s=60)
            ids.update(stream.ids)
            wait_for(
                lambda: there.sandbox.counters()["in_flight"] >= JOBS_EACH // 6, within_s=30, what="calls in flight"
            )
            in_flight += _kill_all(there)
            wait_for(partial(_goes_on, there, list(ids.values())), within_s=60, what="work goes on")
        wait_until_ended(there, list(ids.values()), within_s=120)
        return [
            at_least("calls in flight at the kills", in_flight, times),
            at_most("provider calls, of jobs + in flight at the kills", there.calls(), len(ids) + in_flight),
            *judged(there, ids, ends=ends),
        ]


def _goes_on(there: Deployment, names: Sequence[str]) -> bool:
    return unended(there, names) < JOBS_EACH // 2


def _kill_all(there: Deployment) -> int:
    """Kill everybody who runs jobs, start as many again; return how many jobs they had."""
    deaths = [death_of(there, worker) for worker in list(there.workers)]
    there.upkeep.kill()
    there.start_upkeep()
    for _ in deaths:
        there.add_worker()
    return sum(len(death.jobs) for death in deaths)
