"""Random kill -9 of workers while jobs come in, each worker replaced at once."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.chaos.harness.census import Ends, judged, states, wait_until_ended
from tests.chaos.harness.deployment import PREFIX, Deployment
from tests.chaos.harness.hatchery import Hatched
from tests.chaos.harness.stream import Stream
from tests.chaos.rows import Row, at_least, at_most, counted, scaled
from tests.chaos.table import say
from tests.support.steady import percentile

KILLS, JOBS, WORKERS = 200, 2_000, 4
EACH_S = 2.0
RECOVERY_S = 25.0
ENDED_WITHIN_S = 120.0
WINDOW = 40
"""Jobs that wait or run at most: a slow machine is not to be measured by how much it can be made to pile up."""
SLOWEST_S = 10.0
LIMIT_S = 1_800.0


@dataclass(frozen=True)
class Death:
    """A killed worker: when, by Redis (ms), and what it had."""

    at_ms: int
    jobs: tuple[str, ...]


def run(scale: float) -> Sequence[Row]:
    """Kill 200 workers over 2,000 jobs."""
    return kill_workers(kills=scaled(KILLS, scale), jobs=scaled(JOBS, scale))


def kill_workers(
    *, kills: int, jobs: int, each_s: float = EACH_S, recovery_s: float = RECOVERY_S, **variables: str
) -> list[Row]:
    """Kill one worker each `each_s`, or more slowly where the machine is slow, while so many jobs come in."""
    with Deployment(latency_s=(0.3, 0.9), variables=variables) as there:
        there.start(workers=WORKERS)
        with Ends(there) as ends:
            stream = Stream(there.url, jobs, rate=jobs / (kills * each_s), most_waiting=WINDOW, ended=ends.counts)
            deaths, seen = _kill(
                there, kills, each_s, lambda number: len(ends.counts) + WINDOW >= number * jobs / kills
            )
            stream.wait(within_s=120)
            wait_until_ended(there, list(stream.ids.values()), within_s=ENDED_WITHIN_S)
            _look(there, deaths, seen)
            return [*judged(there, stream.ids, ends=ends), *_figures(there, deaths, seen, jobs, recovery_s)]


def _kill(
    there: Deployment, kills: int, each_s: float, keeps_up: Callable[[int], bool]
) -> tuple[list[Death], dict[tuple[str, int], int]]:
    """Kill workers; the next one when its time has come and so much work was done meanwhile, at the latest after SLOWEST_S."""
    chance, deaths = random.Random(), list[Death]()
    seen: dict[tuple[str, int], int] = {}
    for number in range(1, kills + 1):
        began = time.monotonic()
        while (took := time.monotonic() - began) < each_s or (took < SLOWEST_S and not keeps_up(number)):
            _look(there, deaths, seen)
            time.sleep(0.1)
        deaths.append(death_of(there, chance.choice(there.workers)))
        there.add_worker()
        if number % 20 == 0:
            say(f"  {number} of {kills} workers killed")
    return deaths, seen


def death_of(there: Deployment, worker: Hatched) -> Death:
    """Stop a worker, note what it has, and kill it before it can move again."""
    owner = there.owner_of(worker)
    worker.send(signal.SIGSTOP)
    with there.client() as client:
        held = client.hvals(f"{PREFIX}:owner:{owner}:jobs")
        seconds, micros = client.time()
    worker.kill()
    there.workers.remove(worker)
    return Death(seconds * 1000 + micros // 1000, tuple(job.decode() for job in held))


def _look(there: Deployment, deaths: Sequence[Death], seen: dict[tuple[str, int], int]) -> None:
    """Note when what a dead worker had was begun again, or ended: into `seen`, by job and instant of the death."""
    waiting = [(job, death.at_ms) for death in deaths for job in death.jobs if (job, death.at_ms) not in seen]
    with there.client() as client:
        found = states(client, [job for job, _ in waiting], "started", "finished")
    for (job, at_ms), (_, started, finished) in zip(waiting, found, strict=True):
        later = [int(instant) for instant in (started, finished) if instant and int(instant) > at_ms]
        if later:
            seen[job, at_ms] = min(later)


def _figures(
    there: Deployment, deaths: Sequence[Death], seen: dict[tuple[str, int], int], jobs: int, recovery_s: float
) -> list[Row]:
    in_flight = sum(len(death.jobs) for death in deaths)
    took_s = [(instant - at_ms) / 1000 for (_, at_ms), instant in seen.items()]
    return [
        at_least("workers killed with calls in flight", sum(bool(death.jobs) for death in deaths), 1),
        counted("workers killed, calls in flight at the kills", f"{len(deaths)}, {in_flight}"),
        at_most("provider calls, of jobs + in flight at the kills", there.calls(), jobs + in_flight),
        at_most("p95 from kill to next claim or end", percentile(took_s, 0.95), recovery_s, unit="s"),
        counted("longest from kill to next claim or end", f"{max(took_s, default=0):.1f} s"),
    ]
