"""The master is killed, at last frozen, under load, and Sentinel makes its replica the next: what callers and jobs see of it.

What the replica had not received when its master died is lost, by the nature of Redis' replication; the row counts it. By hand:
`python -m tests.chaos.sentinel [scale]`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import NamedTuple

from tests.support.fleet import Fleet
from tests.support.hail import ACCEPTED, UNAVAILABLE, Hail, hail
from tests.support.jobs_client import JobsClient
from tests.support.sentinels import Sentinels

FAILOVERS = 5
RATE = 20.0
BEFORE_S, AFTER_S = 2.0, 4.0
OUT_S = 15.0
ANSWER_S = 6.0
LOST_SHARE = 0.005


class Row(NamedTuple):
    """One line of the table: what was looked at, the figure, its limit, whether it keeps it."""

    what: str
    figure: str
    limit: str
    ok: bool


def run(scale: float = 1.0) -> list[Row]:
    """Run `5 * scale` failovers (at least one) and return the rows."""
    failovers = max(1, round(FAILOVERS * scale))
    with Fleet(latency_s=0.2, store=lambda: Sentinels(sentinels=3 if failovers > 1 else 1)) as fleet:
        fleet.start_web()
        fleet.start_upkeep()
        fleet.start_worker()
        client = JobsClient(fleet.url)
        client.wait(client.submit("warm up"), within_s=60)
        found = asyncio.run(hail(fleet.url, rate=RATE, until=lambda seen: _fail_over(fleet, seen, failovers)))
        again = client.wait(client.submit("after all of it"), within_s=30)["status"]
    return _rows(found, failovers, again)


async def _fail_over(fleet: Fleet, seen: Hail, times: int) -> None:
    for number in range(times):
        await asyncio.sleep(BEFORE_S)
        seen.marks[f"kill {number}"] = asyncio.get_running_loop().time()
        # The last of several is frozen, as a machine that was cut off is: its connections stand, and say nothing.
        how = signal.SIGSTOP if 0 < number == times - 1 else signal.SIGKILL
        old = await asyncio.to_thread(fleet.redis.fail_over, how)
        await asyncio.sleep(AFTER_S if how is signal.SIGSTOP else 0)  # it wakes as a master, when everybody has left it
        await asyncio.to_thread(fleet.redis.bring_back, old)
        await asyncio.sleep(AFTER_S)


def _rows(found: Hail, failovers: int, again: str) -> list[Row]:
    statuses = found.statuses
    improper = sum(not one.is_proper for one in found.answers)
    out_s = [found.out_for_s(mark) if number == failovers - 1 else _first_out_s(found, number) for number, mark in enumerate(found.marks)]  # fmt: skip
    slowest_s = max(one.took_s for one in found.answers)
    lost, completed = found.fates["lost"], found.fates["completed"]
    unended = len(found.accepted) - lost - completed
    most_lost = max(1, round(LOST_SHARE * len(found.accepted)))
    told = f"{statuses.get(ACCEPTED, 0)} accepted, {statuses.get(UNAVAILABLE, 0)} refused"
    return [
        Row(f"{failovers} failovers: answers other than 202 and a proper 503", f"{improper} ({told})", "0", improper == 0),
        Row("longest time without an accepted submit, from the kill", f"{max(out_s):.1f} s", f"{OUT_S:g} s", max(out_s) <= OUT_S),
        Row("slowest answer", f"{slowest_s:.1f} s", f"{ANSWER_S:g} s", slowest_s <= ANSWER_S),
        Row("accepted jobs that did not complete", f"{unended} of {len(found.accepted)}", "0", unended == 0),
        Row("accepted jobs lost with the old master", str(lost), f"{most_lost} (replication lag)", lost <= most_lost),
        Row("a job after the last failover", again, "completed", again == "completed"),
    ]  # fmt: skip


def _first_out_s(found: Hail, number: int) -> float:
    """Return how long submits were refused after a kill that others follow."""
    mark, following = f"kill {number}", f"kill {number + 1}"
    part = Hail(found.between(mark, following), {mark: found.marks[mark]})
    return part.out_for_s(mark)


def main() -> int:
    """Print the rows; return 0 when all keep their limits."""
    rows = run(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
    for row in rows:
        sys.stdout.write(f"{'ok  ' if row.ok else 'FAIL'} {row.what}: {row.figure} (limit {row.limit})\n")
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
