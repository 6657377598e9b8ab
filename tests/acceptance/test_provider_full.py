"""A provider with five slots, and more jobs than that: who is urgent goes first, and no slot stands empty."""

from __future__ import annotations

import asyncio
import time

from tests.support.equal_requests import session_of
from tests.support.money import priced_body
from tests.support.steady import Seen, collect, together
from tests.support.waiting import eventually
from tests.support.wall import Given, Wall

SLOTS, LOWS, HIGHS = 5, 20, 5
CALL_S = 1.0
SETTLED_MS, NEARLY_MS = 500, 100
MOST_OF_IDEAL = 3.0  # of a machine that does something else too; see the printed ratio


def test_the_urgent_pass_those_who_wait_for_a_slot_and_slots_are_in_use() -> None:
    given = Given(name="p1", timeout_s=30, profile={"latency_s": CALL_S}, more={"limits": {"concurrency": SLOTS}})
    with Wall(providers=[given]) as wall:
        wall.start(workers=1)
        lows, highs, took_s = asyncio.run(_run(wall))
        assert {job.status for job in (*lows, *highs)} == {"completed"}
        assert all(len(job.attempts) == 1 for job in (*lows, *highs))
        settled = max(job.created_ms for job in highs) + SETTLED_MS
        last_high = max(map(_started_ms, highs))
        between = [job for job in lows if settled < _started_ms(job) < last_high - NEARLY_MS]
        assert len(between) <= 2, "every tenth turn is a lower class's"
        ideal_s = CALL_S * (LOWS + HIGHS) / SLOTS
        print(f"{LOWS + HIGHS} jobs in {took_s:.2f} s, {took_s / ideal_s:.2f} of the ideal")
        assert took_s < MOST_OF_IDEAL * ideal_s
        with wall.client() as client:
            assert all(client.pttl(name) > 0 for name in client.scan_iter("aip:waiting:*"))


def _started_ms(job: Seen) -> float:
    """Return the instant at which the job's last call began."""
    return (job.finished_ms or 0) - float(job.attempts[-1]["latency_ms"])


async def _run(wall: Wall) -> tuple[list[Seen], list[Seen], float]:
    async with session_of() as session:
        began = time.monotonic()
        lows = await together(session, wall.url, [priced_body(n, priority="low") for n in range(LOWS)])
        await eventually(lambda: wall.calls("p1") >= SLOTS, within_s=20, what="every slot is in use")
        highs = await together(session, wall.url, [priced_body(100 + n, priority="high") for n in range(HIGHS)])
        jobs = {job.id: job for job in await collect(session, wall.url, [*lows, *highs], within_s=60)}
        return [jobs[one] for one in lows], [jobs[one] for one in highs], time.monotonic() - began
