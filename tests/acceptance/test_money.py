"""The ledger, the jobs and the providers' own counts agree, whatever is killed, drained, cancelled or restarted."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import pytest

from tests.support.equal_requests import body_of, leading, session_of
from tests.support.money import all_calls, answer_usd, billed, books_of, faulty, known_usd, miscounted, priced_body
from tests.support.steady import Seen, collect, together
from tests.support.waiting import eventually, wait_for
from tests.support.wall import Given, Wall

EQUAL = 12
SLOW_S = 5.0
JOBS, RATE = 300, 25
QUICK = {"jobs": {"heartbeat_s": 1, "lease_s": 3}, "worker": {"drain_s": 1}, "breakers": {"probe_s": 1}}
WIRES = {"p1": "openai", "p2": "anthropic"}
TINY = 1e-9


def test_a_worker_that_drains_books_the_call_it_led_for_others_and_loses_none() -> None:
    slow = Given(name="p1", timeout_s=60, profile={"latency_s": SLOW_S})
    with Wall(providers=[slow], settings={"worker": {"drain_s": 0.5}}) as wall:
        wall.start(workers=2)

        async def drained() -> set[str]:
            async with session_of() as session:
                ids = await together(session, wall.url, [body_of("led for others")] * EQUAL)
                leader = await eventually(lambda: leading(wall), within_s=20, what="a worker calls for all")
                await eventually(lambda: wall.calls("p1") == 1, what="the call reaches the provider")
                os.kill(leader, signal.SIGTERM)
                jobs = await collect(session, wall.url, ids, within_s=60)
            await eventually(lambda: any(one.poll() is not None for one in wall.workers), within_s=20)
            return {job.status for job in jobs}

        assert asyncio.run(drained()) == {"completed"}
        books = books_of(wall)
        assert books.left_open == []
        assert (books["lost"], books["calls"], books["maybe_billed"], wall.calls("p1")) == (0, 2, 1, 2)


def test_after_kills_drains_cancels_deadlines_and_restarts_the_books_balance() -> None:
    profile = {"latency_s": 0.4, "jitter_s": 0.2}
    providers = [Given(name=name, wire=wire, timeout_s=1, profile=profile) for name, wire in WIRES.items()]
    with Wall(providers=providers, settings=QUICK) as wall:
        wall.start(workers=3)
        wall.sandbox.set_faults(*faulty())
        jobs = asyncio.run(_chaos(wall))
        wall.sandbox.wait_until_idle()
        wait_for(lambda: not books_of(wall).left_open, within_s=30, what="every call is booked")
        books = books_of(wall)
        assert {job.status for job in jobs} <= {"completed", "cancelled", "expired", "failed"}
        assert miscounted(jobs) == []
        calls, answered = all_calls(wall), billed(wall)
        # Of a call whose cost is unknown it is not known either whether it ever reached the provider.
        assert books["calls"] - (books["unpriced"] + books["maybe_billed"]) <= calls <= books["calls"]
        usd = answer_usd(jobs)
        assert usd * (answered - (books["unpriced"] + books["maybe_billed"])) <= books["cost_usd"] + TINY
        assert books["cost_usd"] <= usd * answered + TINY
        assert books["cost_usd"] == pytest.approx(usd * round(books["cost_usd"] / usd), rel=1e-9)
        assert sum(known_usd(job.attempts) for job in jobs) <= books["cost_usd"] + TINY


async def _chaos(wall: Wall) -> list[Seen]:
    """Submit a stream of jobs, some with a deadline and some to be cancelled, while processes die and Redis comes and goes."""
    moments = {2: wall.workers[0].kill, 3: wall.add_worker, 5: wall.redis.kill, 6: wall.redis.start,
               8: wall.redis.freeze, 9.5: wall.redis.thaw,
               10.5: lambda: wall.workers[1].send_signal(signal.SIGTERM)}  # fmt: skip
    async with session_of() as session:
        began = time.monotonic()

        async def at(moment: float, act: Any) -> None:
            await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
            await asyncio.to_thread(act)

        async def one(number: int) -> str:
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
            body = priced_body(number, deadline_s=1.5 if number % 11 == 0 else 60)
            job_id = await _submitted(session, wall.url, body)
            if number % 13 == 0:
                await asyncio.sleep(0.3)
                await session.post(f"{wall.url}/api/v1/jobs/{job_id}/cancel")
            return job_id

        acts = [asyncio.create_task(at(*moment)) for moment in moments.items()]
        ids = await asyncio.gather(*(one(number) for number in range(JOBS)))
        await asyncio.gather(*acts)
        return await collect(session, wall.url, ids, within_s=90)


async def _submitted(session: Any, url: str, body: dict[str, Any]) -> str:
    """Submit until the service takes it: Redis may be away."""

    async def taken() -> str | None:
        async with session.post(f"{url}/api/v1/completion", json=body) as answer:
            return str((await answer.json())["id"]) if answer.status in {200, 202} else None

    return str(await eventually(taken, within_s=30, every_s=0.5, what="a job is taken"))
