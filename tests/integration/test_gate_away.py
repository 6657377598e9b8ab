"""The gate while Redis is away, slow or frozen: calls go on by what this process knows, and nothing is lost or said twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.asyncio as aioredis

from infrastructure.core.error_core import StoreError
from infrastructure.core.redis_core import connect
from tests.support.gates import PREFIX, a_begin, an_end, ledger, redis_gate, sums
from tests.support.machine import in_time
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually
from workers.jobs.gate.fleet_gate import FleetGate
from workers.jobs.gate.local_gate import LocalGate
from workers.jobs.gate.models import Admission, Begin, Breaker, Refusal, Verdict

pytestmark = pytest.mark.anyio


class Lines:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> Any:
        return lambda message, **_: self.told.append((level, message))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer(appendonly=True).start()
    yield server
    server.remove()


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[aioredis.Redis]:
    redis = connect(server.url, max_connections=8)
    yield redis
    await redis.aclose()


@pytest.fixture
async def gate(redis: aioredis.Redis) -> AsyncIterator[FleetGate]:
    gate = FleetGate(redis_gate(redis, turned=False), LocalGate(), log=Lines())  # type: ignore[arg-type]
    yield gate
    await gate.close()


def told(gate: FleetGate) -> list[tuple[str, str]]:
    lines: Lines = gate._log  # type: ignore[assignment]
    return lines.told


async def call(gate: FleetGate, verdict: Verdict = Verdict.GOOD, **begin: Any) -> Any:
    asked = a_begin(**begin)
    admission = await gate.begin(asked)
    assert admission.admitted, admission
    return await gate.end(an_end(asked, admission, verdict))


async def begun(gate: FleetGate, **begin: Any) -> tuple[Begin, Admission]:
    asked = a_begin(**begin)
    return asked, await gate.begin(asked)


async def test_calls_go_on_without_redis_and_are_booked_when_it_is_back(
    server: RedisServer, redis: aioredis.Redis, gate: FleetGate
) -> None:
    await call(gate)
    before = await begun(gate)
    server.kill()
    started = time.monotonic()
    during = await begun(gate)
    assert in_time(time.monotonic() - started, 1.2)
    assert (gate.away, during[1].admitted) == (True, True)
    started = time.monotonic()
    await gate.end(an_end(*before))
    await gate.end(an_end(*during))
    lasting = await begun(gate)
    assert in_time(time.monotonic() - started, 0.05)  # nobody waits a second time
    await eventually(lambda: len(told(gate)) == 1)
    server.start()
    await eventually(lambda: not gate.away)
    await gate.end(an_end(*lasting))
    await eventually(lambda: _calls(redis, 4))
    assert await redis.keys(f"{PREFIX}:attempts:*") == []
    assert await redis.keys(f"{PREFIX}:inflight:*") == []
    assert told(gate) == [("warning", "Gate goes on without Redis"), ("info", "Gate has Redis again")]


async def _calls(redis: aioredis.Redis, count: int) -> bool:
    return sums(await ledger(redis)).get("calls") == count


async def test_what_the_fleet_knew_holds_on_without_redis(server: RedisServer, gate: FleetGate) -> None:
    for _ in range(5):
        await call(gate, Verdict.FAILED)
    await call(gate, Verdict.ACCOUNT, provider="beta")
    await call(gate, provider="gamma")
    server.kill()
    await begun(gate, provider="gamma")
    refused = (await begun(gate))[1]
    assert (refused.refusal, refused.state.breaker) == (Refusal.OPEN, Breaker.OPEN)
    assert 0 < refused.wait_ms <= 12_000
    assert (await begun(gate, provider="beta", model="any"))[1].state.account is Breaker.OPEN
    states = {state.provider: state for state in await gate.states()}
    assert states["gamma"].latency_ms == 100


async def test_breakers_open_without_redis(server: RedisServer, gate: FleetGate) -> None:
    calls = [await begun(gate) for _ in range(3)]
    server.kill()
    for each in calls:
        await gate.end(an_end(*each, Verdict.FAILED))  # let through by the fleet's gate, learnt by the local one
    for _ in range(2):
        await call(gate, Verdict.FAILED)
    assert (await begun(gate))[1].refusal is Refusal.OPEN


async def test_a_redis_that_answers_nothing_holds_a_caller_up_for_a_second_at_most(
    server: RedisServer, redis: aioredis.Redis, gate: FleetGate
) -> None:
    await call(gate)
    server.freeze()
    started = time.monotonic()
    calls = await asyncio.gather(*(begun(gate) for _ in range(300)))
    took_s = time.monotonic() - started
    assert all(admission.admitted for _, admission in calls)
    assert in_time(took_s, 2)  # one patience, on a busy machine
    await asyncio.gather(*(gate.end(an_end(*each)) for each in calls))
    server.thaw()
    await eventually(lambda: not gate.away)
    await eventually(lambda: _calls(redis, 301))
    # What the server ran when it woke, of callers long gone, is found as strangers.
    for _ in range(2):
        await gate.reconcile()
    assert await redis.keys(f"{PREFIX}:attempts:*") == []
    assert await redis.keys(f"{PREFIX}:inflight:*") == []


async def test_an_attempt_that_nobody_knows_is_lost_after_two_looks(redis: aioredis.Redis, gate: FleetGate) -> None:
    mine = await begun(gate)
    await gate._shared.begin(a_begin(attempt="stranger"))
    await gate.reconcile()
    assert await redis.hlen(f"{PREFIX}:attempts:w1") == 2
    await gate.reconcile()
    assert await redis.hkeys(f"{PREFIX}:attempts:w1") == [mine[0].attempt.encode()]
    assert sums(await ledger(redis)) == {
        "calls": 1,
        "lost": 1,
        "maybe_billed": 1,
        "lost_unbounded": 1,
        "maybe_unbounded": 1,
    }
    assert told(gate) == [("warning", "Calls that nobody knows of were booked as lost")]


async def test_a_call_let_through_without_redis_is_booked_once_however_often_its_end_is_sent(
    server: RedisServer, redis: aioredis.Redis, gate: FleetGate
) -> None:
    server.kill()
    apart = await begun(gate)
    server.start()
    await eventually(lambda: not gate.away)
    ended = an_end(*apart)
    await gate.end(ended)
    for _ in range(3):
        await gate._shared.end(ended, apart=True)
    assert sums(await ledger(redis))["calls"] == 1


async def test_a_silent_call_counts_without_redis_too(server: RedisServer, gate: FleetGate) -> None:
    calls = [await begun(gate) for _ in range(5)]
    server.kill()
    for each in calls:
        await gate.end(an_end(*each, Verdict.FAILED, final=False))
    assert (await begun(gate))[1].refusal is Refusal.OPEN
    for each in calls:
        await gate.end(an_end(*each, Verdict.FAILED))
    assert gate._local._open == {}
    assert len(gate._debts) == 5


async def test_states_say_once_that_redis_is_away(server: RedisServer, gate: FleetGate) -> None:
    await call(gate)
    server.kill()
    with pytest.raises(StoreError):
        await gate.states()
    assert [state.provider for state in await gate.states()] == ["alpha"]


async def test_a_provider_found_down_is_shut_without_redis_too(server: RedisServer, gate: FleetGate) -> None:
    server.kill()
    await gate.down("alpha", "checked")
    assert (await begun(gate))[1].refusal is Refusal.OPEN


async def test_redis_that_comes_and_goes_loses_no_end(
    server: RedisServer, redis: aioredis.Redis, gate: FleetGate
) -> None:
    stop = asyncio.Event()
    made = 0

    async def caller() -> None:
        nonlocal made
        while not stop.is_set():
            asked, admission = await begun(gate)
            await asyncio.sleep(0.005)
            await gate.end(an_end(asked, admission))
            made += 1

    callers = [asyncio.create_task(caller()) for _ in range(8)]
    for _ in range(3):
        await asyncio.sleep(0.1)
        server.kill()
        await eventually(lambda: gate.away)
        server.start()
        await eventually(lambda: not gate.away)
    stop.set()
    await asyncio.gather(*callers)
    await eventually(lambda: _calls(redis, made), what=f"{made} calls booked")
    assert await redis.keys(f"{PREFIX}:inflight:*") == []


async def test_an_answer_of_redis_that_nobody_expects_is_told_and_served_around(
    redis: aioredis.Redis, gate: FleetGate
) -> None:
    await redis.set(f"{PREFIX}:breaker:alpha", "no hash")
    assert (await begun(gate))[1].admitted
    assert ("error", "Gate got an answer of Redis that it does not know") in told(gate)


async def test_an_end_that_redis_refuses_is_tried_again_now_and_then_and_keeps_no_other_from_being_booked(
    redis: aioredis.Redis, gate: FleetGate
) -> None:
    asked, admission = await begun(gate)
    await redis.set(f"{PREFIX}:breaker:alpha", "no hash")
    await gate.end(an_end(asked, admission))
    before = await _scripts_run(redis)
    for _ in range(20):
        await call(gate, provider="beta")
        await asyncio.sleep(0.01)
    await eventually(lambda: _calls(redis, 20), what="the others are booked")
    assert await _scripts_run(redis) - before <= 100
    await redis.delete(f"{PREFIX}:breaker:alpha")
    await gate.pay_refused()
    assert await _calls(redis, 21)


async def _scripts_run(redis: aioredis.Redis) -> int:
    stats = await redis.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


async def test_the_gate_finds_redis_again_though_it_may_not_ping_it(
    server: RedisServer, redis: aioredis.Redis, gate: FleetGate
) -> None:
    await redis.acl_setuser("default", enabled=True, commands=["+@all", "-ping"])
    await redis.client_pause(1_300)
    asked, admission = await begun(gate)
    assert gate.away
    await gate.end(an_end(asked, admission))
    await eventually(lambda: not gate.away)
    await eventually(lambda: _calls(redis, 1), what="the call is booked")


async def test_what_is_owed_to_redis_is_no_stranger_to_it(redis: aioredis.Redis, gate: FleetGate) -> None:
    asked, admission = await begun(gate)
    gate.away = True  # it has just failed, and its return is not known yet
    await gate.end(an_end(asked, admission))
    for _ in range(3):
        await gate.reconcile()
    gate.away = False
    await gate.flush()
    amounts = sums(await ledger(redis))
    assert (amounts.get("lost"), amounts["cost_usd"]) == (None, 0.25)


async def test_a_cancel_in_the_midst_of_paying_what_was_refused_loses_nothing(
    redis: aioredis.Redis, gate: FleetGate
) -> None:
    calls = [await begun(gate) for _ in range(5)]
    await redis.set(f"{PREFIX}:breaker:alpha", "no hash")
    for asked, admission in calls:
        await gate.end(an_end(asked, admission))
    paying = asyncio.create_task(gate.pay_refused())
    await asyncio.sleep(0)
    paying.cancel()
    await asyncio.gather(paying, return_exceptions=True)
    await redis.delete(f"{PREFIX}:breaker:alpha")
    await gate.flush()
    assert await _calls(redis, 5)


async def test_where_redis_refuses_a_key_the_local_gate_goes_on_from_what_the_fleet_knew(
    redis: aioredis.Redis, gate: FleetGate
) -> None:
    for _ in range(5):
        await call(gate, Verdict.FAILED)
    await redis.set(f"{PREFIX}:breaker:alpha", "no hash")
    refused = (await begun(gate, model="model-1"))[1]
    assert (refused.refusal, refused.state.breaker) == (Refusal.OPEN, Breaker.OPEN)


async def test_what_the_local_gate_learns_while_redis_refuses_a_key_is_kept(
    redis: aioredis.Redis, gate: FleetGate
) -> None:
    await call(gate)
    await redis.set(f"{PREFIX}:breaker:alpha", "no hash")
    for _ in range(5):
        await call(gate, Verdict.FAILED)
        await call(gate, provider="beta")
    assert (await begun(gate))[1].refusal is Refusal.OPEN


async def test_a_connection_that_is_cut_is_made_anew_without_going_away(redis: aioredis.Redis, gate: FleetGate) -> None:
    for _ in range(5):
        asked, admission = await begun(gate)
        await redis.client_kill_filter(_type="normal", skipme=True)
        await gate.end(an_end(asked, admission))
    assert (gate.away, told(gate)) == (False, [])
    assert await _calls(redis, 5)
    assert await redis.keys(f"{PREFIX}:inflight:*") == []
