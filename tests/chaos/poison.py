"""A job that kills its worker, among 200 in flight: it ends as a dead letter, and nobody else does."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from tests.chaos.harness.census import LIVE, Ends, judged, states, wait_until_ended
from tests.chaos.harness.deployment import FAST, MODEL, PREFIX, Deployment
from tests.chaos.harness.poison import POISON
from tests.chaos.harness.stream import Stream
from tests.chaos.rows import Row, at_least, exactly, scaled
from tests.support.waiting import wait_for

JOBS, WORKERS = 200, 4
ARMED = "tests.chaos.harness.poison"
DEATHS_AMONG_OTHERS, DEATHS_ALONE = 2, 2
ENDED_WITHIN_S = 600
HELD_S, LONG, QUICK = 40.0, "long question", 40
"""The first calls take long, so that all are in flight at once; quick ones beside them keep the provider from seeming silent."""


def run(scale: float) -> Sequence[Row]:
    """Put it among 200."""
    return poison(jobs=scaled(JOBS, scale, least=WORKERS))


def poison(*, jobs: int) -> list[Row]:
    """Submit the poison once so many jobs are in flight; start again at once whoever dies."""
    with Deployment(latency_s=(1.0, 2.0), variables=FAST) as there, Ends(there) as ends:
        there.start(workers=WORKERS, before=ARMED)
        there.sandbox.set_faults({"match": {"contains": LONG}, "action": {"latency_s": HELD_S}})
        stream, quick = Stream(there.url, jobs, word=LONG), Stream(there.url, QUICK, rate=1)
        stream.wait(within_s=60)
        wait_for(lambda: there.sandbox.counters()["in_flight"] >= jobs, within_s=HELD_S, what="all of them in flight")
        there.sandbox.set_faults()
        with there.client() as client:
            in_flight = sum(client.hlen(name) for name in client.scan_iter(f"{PREFIX}:owner:*"))
        bad = _submit(there)
        among, alone = _restart_who_dies(there, bad)
        quick.wait(within_s=120)
        ids = {**stream.ids, **quick.ids, POISON: bad}
        wait_until_ended(there, list(ids.values()), within_s=ENDED_WITHIN_S)
        with there.client() as client:
            (state, code, deaths), listed = (
                states(client, [bad], "error_code", "deaths")[0],
                client.zscore(f"{PREFIX}:dead", bad),
            )
        return [
            at_least("jobs in flight when the poison came", in_flight, jobs),
            exactly("the poison's end", f"{_text(state)} {_text(code)}", "failed poisoned"),
            exactly("dead letters listed of it", int(listed is not None), 1),
            exactly("workers that it killed among others", among, DEATHS_AMONG_OTHERS),
            exactly("processes that it killed alone", alone, DEATHS_ALONE),
            exactly("deaths that its job counts", int(deaths or 0), DEATHS_AMONG_OTHERS + DEATHS_ALONE),
            *judged(there, ids, ends=ends, poison=[POISON]),
        ]


def _submit(there: Deployment) -> str:
    body = {"model": MODEL, "messages": [{"role": "user", "content": POISON}], "priority": "high"}
    answer = httpx.post(f"{there.url}/api/v1/completion", json=body, timeout=20)
    return str(answer.raise_for_status().json()["id"])


def _restart_who_dies(there: Deployment, bad: str) -> tuple[int, int]:
    """Start again whoever dies until the poison has ended; return how many completion workers and upkeeps died."""
    died = {"among": 0, "alone": 0}

    def over() -> bool:
        for worker in [one for one in there.workers if not one.lives]:
            there.workers.remove(worker)
            there.add_worker(before=ARMED)
            died["among"] += 1
        if not there.upkeep.lives:
            there.start_upkeep(before=ARMED)
            died["alone"] += 1
        with there.client() as client:
            return states(client, [bad])[0][0] not in LIVE

    wait_for(over, within_s=ENDED_WITHIN_S, every_s=0.1, what="the poison's end")
    return died["among"], died["alone"]


def _text(value: bytes | None) -> str:
    return "none" if value is None else value.decode()
