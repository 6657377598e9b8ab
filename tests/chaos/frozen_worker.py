"""SIGSTOP of workers for a minute, then SIGCONT: what they had is done by others, and their late writes are refused."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from tests.chaos.harness.census import Ends, judged, wait_until_ended
from tests.chaos.harness.deployment import FAST, PREFIX, Deployment
from tests.chaos.harness.hatchery import Hatched
from tests.chaos.harness.stream import Stream
from tests.chaos.rows import Row, at_least, at_most, exactly, scaled
from tests.chaos.table import say
from tests.support.waiting import wait_for

FROZEN_S, JOBS = 60, 20
STOPS_BEFORE_ITS_WRITE = "tests.chaos.harness.stops_before_write"


def run(scale: float) -> Sequence[Row]:
    """Freeze for 60 s."""
    return freeze_workers(frozen_s=scaled(FROZEN_S, scale, least=6), jobs=JOBS)


def freeze_workers(*, frozen_s: float, jobs: int) -> list[Row]:
    """Freeze one worker in the middle of calls and another one at the moment before it writes an answer."""
    with Deployment(latency_s=(1.0, 2.0), variables=FAST) as there, Ends(there) as ends:
        there.start(workers=2)
        writer = there.add_worker(before=STOPS_BEFORE_ITS_WRITE)
        there.wait_until_ready(writer)
        stream = Stream(there.url, jobs)
        stream.wait(within_s=60)
        wait_for(lambda: _stopped(writer), within_s=30, what="a worker stops before its write")
        caller = there.workers[0]
        caller.send(signal.SIGSTOP)
        frozen_at = time.monotonic()
        with there.client() as client:
            held = sum(client.hlen(f"{PREFIX}:owner:{there.owner_of(one)}:jobs") for one in (writer, caller))
        names = list(stream.ids.values())
        wait_until_ended(there, names, within_s=60)
        say(f"  all ended after {time.monotonic() - frozen_at:.0f} s, with {held} jobs in frozen hands")
        time.sleep(max(0.0, frozen_at + frozen_s - time.monotonic()))
        for one in (writer, caller):
            one.send(signal.SIGCONT)
        wait_for(lambda: _stale(there) > 0, within_s=20, what="a late write")
        later = Stream(there.url, jobs)
        later.wait(within_s=60)
        wait_until_ended(there, list(later.ids.values()), within_s=60)
        return [
            at_least("jobs in frozen workers", held, 1),
            at_least("late writes refused and counted", _stale(there), 1),
            exactly("woken workers that live on", sum(one.lives for one in (writer, caller)), 2),
            at_most("provider calls, of jobs + in frozen workers", there.calls(), 2 * jobs + held),
            *judged(there, {**stream.ids, **later.ids}, ends=ends),
        ]


def _stopped(worker: Hatched) -> bool:
    return worker.status == "stopped"


def _stale(there: Deployment) -> int:
    with there.client() as client:
        return int(client.hget(f"{PREFIX}:counters", "stale_writes") or 0)
