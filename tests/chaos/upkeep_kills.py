"""Kill -9 of beat, and of upkeep in the middle of rescue and of the ringer: work goes on."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Sequence

from tests.chaos.harness.census import Ends, judged, wait_until_ended
from tests.chaos.harness.deployment import FAST, PREFIX, Deployment
from tests.chaos.harness.stream import Stream
from tests.chaos.rows import Row, at_most, exactly, scaled
from tests.support.steady import percentile
from tests.support.waiting import wait_for

TIMES, JOBS = 20, 6
ARMED = "tests.chaos.harness.dies_in_upkeep"
ENDED_S = 25.0
"""From a kill to the end of all jobs that it touched: leases are of 4 s here."""


def run(scale: float) -> Sequence[Row]:
    """Kill each of them 20 times."""
    return kill_upkeep(times=scaled(TIMES, scale))


def kill_upkeep(*, times: int) -> list[Row]:
    """Kill each so many times; every time some jobs need what was killed."""
    ids: dict[str, str] = {}
    killed: Counter[str] = Counter()
    rounds: dict[str, Callable[[Deployment], Stream]] = {
        "beat": _kill_beat, "rescue": _kill_in_rescue, "ringer": _kill_in_ringer,
    }  # fmt: skip
    with Deployment(latency_s=(0.5, 0.5), variables=FAST) as there, Ends(there) as ends:
        there.start(workers=2)
        for _ in range(times):
            for name, one_round in rounds.items():
                stream = one_round(there)
                killed[name] += 1
                ids.update(stream.ids)
                wait_until_ended(there, list(stream.ids.values()), within_s=60)
        took_s = _took_s(there, list(ids.values()))
        return [
            exactly("killed", dict(killed), dict.fromkeys(rounds, times)),
            at_most("longest from submit to end", percentile(took_s, 1.0), ENDED_S, unit="s"),
            *judged(there, ids, ends=ends),
        ]


def _kill_beat(there: Deployment) -> Stream:
    """Kill beat, and a worker whose jobs have to be rescued without it; the next beat comes when they are through."""
    there.beat.kill()
    stream = _submit_and_lose_a_worker(there)
    wait_until_ended(there, list(stream.ids.values()), within_s=60)
    there.start_beat()
    return stream


def _kill_in_rescue(there: Deployment) -> Stream:
    """Let upkeep die between its sweep and its ringing."""
    _arm_upkeep(there, "rescue")
    stream = _submit_and_lose_a_worker(there)
    _start_again(there)
    return stream


def _kill_in_ringer(there: Deployment) -> Stream:
    """Let upkeep die when it is about to ring for jobs whose messages were lost."""
    _arm_upkeep(there, "ring")
    for worker in there.workers:
        worker.send(signal.SIGSTOP)
    try:
        stream = Stream(there.url, JOBS)
        stream.wait(within_s=60)
        with there.client() as client:
            unread = JOBS - len(there.workers)  # each may have been given one before it was stopped
            wait_for(lambda: client.llen(f"{PREFIX}:mq:completions") >= unread, within_s=30, what="the messages")
            client.delete(f"{PREFIX}:mq:completions")
        _start_again(there)
    finally:
        for worker in there.workers:
            worker.send(signal.SIGCONT)
    return stream


def _arm_upkeep(there: Deployment, point: str) -> None:
    there.upkeep.kill()
    there.start_upkeep(before=ARMED, CHAOS_POINT=point)


def _start_again(there: Deployment) -> None:
    dying = there.upkeep
    wait_for(lambda: not dying.lives, within_s=30, what="upkeep dies in its task")
    there.start_upkeep()


def _submit_and_lose_a_worker(there: Deployment) -> Stream:
    """Submit some jobs, and kill a worker that has some of them."""
    stream = Stream(there.url, JOBS)
    stream.wait(within_s=60)
    with there.client() as client:
        held = {name.decode(): client.hlen(name) for name in client.scan_iter(f"{PREFIX}:owner:*")}
    victim = max(there.workers, key=lambda one: sum(n for name, n in held.items() if f".{one.pid}." in name))
    there.replace(victim)
    return stream


def _took_s(there: Deployment, ids: Sequence[str]) -> list[float]:
    with there.client() as client:
        pipe = client.pipeline(transaction=False)
        for job_id in ids:
            pipe.hmget(f"{PREFIX}:job:{job_id}", "created", "finished")
        return [(int(finished) - int(created)) / 1000 for created, finished in pipe.execute() if finished]
