"""The fleet's gate on a real Redis: many processes, late answers, full memory, dead owners, and what it leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import redis as sync_redis
import redis.asyncio as aioredis

from infrastructure.core.redis_core import connect
from tests.support.gates import (
    PREFIX,
    TENANT,
    a_begin,
    an_end,
    ledger,
    redis_gate,
    redis_twin,
    sums,
)
from tests.support.jobs import audit, let_die, must_claim, nonce, submitted, success
from tests.support.openings import open_again_and_again
from tests.support.redis_server import RedisServer
from workers.jobs.gate.models import Breaker, Refusal, Verdict
from workers.jobs.gate.redis_gate import RedisGate
from workers.jobs.models import ReadyClass
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio

TIMEOUT_S, STALL_S = 0.2, 0.3
HOUR_MS = 3_600_000


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.remove()


@pytest.fixture
async def impatient(own_server: RedisServer) -> AsyncIterator[aioredis.Redis]:
    """Give a client that sends again when an answer is late by TIMEOUT_S."""
    redis = connect(own_server.url, max_connections=2, socket_timeout_s=TIMEOUT_S)
    yield redis
    await redis.aclose()


def gate_of(redis: aioredis.Redis, owner: str = "w1") -> RedisGate:
    return redis_gate(redis, owner=owner, turned=False)


async def test_sixty_four_callers_let_exactly_one_try_at_each_opening(redis_url: str) -> None:
    tries = await open_again_and_again(redis_url, callers=64, openings=60)
    assert tries.faults == []
    assert len(tries.by_epoch) >= 60
    assert tries.refused > 60


async def test_a_breaker_opens_at_the_fifth_of_many_failures_at_once_and_counts_none_twice(
    redis: aioredis.Redis,
) -> None:
    gates = [gate_of(redis, f"w{number}") for number in range(4)]
    calls = [a_begin() for _ in range(40)]
    admitted = [await gates[number % 4].begin(asked) for number, asked in enumerate(calls)]
    assert all(each.admitted for each in admitted)
    states = await asyncio.gather(
        *(
            gates[number % 4].end(an_end(asked, admission, Verdict.FAILED))
            for number, (asked, admission) in enumerate(zip(calls, admitted, strict=True))
        )
    )
    last = (await gates[0].states())[0]
    assert (last.breaker, last.in_flight, last.calls) == (Breaker.OPEN, 0, 0)
    assert max(state.failures for state in states) < 5
    assert sums(await ledger(redis)) == {"calls": 40, "failed": 40, "cost_usd": 10}


async def test_many_calls_at_once_go_in_few_scripts(redis: aioredis.Redis) -> None:
    gate = gate_of(redis)
    await gate.begin(a_begin(attempt="first"))
    before = await scripts_run(redis)
    calls = [a_begin() for _ in range(500)]
    admitted = await asyncio.gather(*(gate.begin(asked) for asked in calls))
    await asyncio.gather(
        *(gate.end(an_end(asked, admission)) for asked, admission in zip(calls, admitted, strict=True))
    )
    assert await scripts_run(redis) - before <= 12
    assert (await gate.states())[0].calls == 500


async def scripts_run(redis: aioredis.Redis) -> int:
    stats = await redis.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))


async def test_scripts_sent_again_because_the_answer_was_late_do_nothing_twice(
    own_server: RedisServer, impatient: aioredis.Redis
) -> None:
    gate = gate_of(impatient)
    asked, failing = a_begin(), a_begin(model="other")
    for warm in (a_begin(model="warm"), a_begin(model="warm")):
        await gate.end(an_end(warm, await gate.begin(warm)))

    async def through_a_stall(step: object) -> object:
        runs = await scripts_run(impatient)
        own_server.freeze()
        asyncio.get_running_loop().call_later(STALL_S, own_server.thaw)
        answer = await step  # type: ignore[misc]
        assert await scripts_run(impatient) == runs + 2
        return answer

    admission = await through_a_stall(gate.begin(asked))
    assert admission.admitted  # type: ignore[attr-defined]
    assert admission.state.in_flight == 1  # type: ignore[attr-defined]
    await through_a_stall(gate.end(an_end(asked, admission)))  # type: ignore[arg-type]
    admission = await gate.begin(failing)
    state = await through_a_stall(gate.end(an_end(failing, admission, Verdict.FAILED)))
    assert (state.failures, state.in_flight) == (1, 0)  # type: ignore[attr-defined]
    assert sums(await ledger(impatient))["calls"] == 4
    assert await impatient.hlen(f"{PREFIX}:attempts:w1") == 0


async def test_only_the_job_s_holder_may_call_for_it(redis: aioredis.Redis) -> None:
    store, gate = JobStore(redis), gate_of(redis)
    await submitted(store, 2)
    mine, other = await must_claim(store), await must_claim(store)
    assert (await gate.begin(a_begin(job=(mine.id, mine.fence.value)))).admitted
    assert (await gate.begin(a_begin(job=(mine.id, other.fence.value)))).refusal is Refusal.STALE
    await store.cancel(mine.id, tenant=None)
    assert (await gate.begin(a_begin(job=(mine.id, mine.fence.value)))).refusal is Refusal.STALE
    await store.give_back(other.fence)
    stale = await gate.begin(a_begin(job=(other.id, other.fence.value)))
    assert (stale.refusal, stale.state.in_flight) == (Refusal.STALE, 1)
    assert (await gate.begin(a_begin(job=("job_gone", "1:x")))).refusal is Refusal.STALE


async def test_what_a_dead_worker_left_open_is_booked_as_lost_once_and_shows_in_its_job(redis: aioredis.Redis) -> None:
    store, dead, alive = JobStore(redis), gate_of(redis, "w1"), gate_of(redis, "w2")
    [job_id] = await submitted(store)
    job = await must_claim(store, "w1")
    for number in range(3):
        await dead.begin(a_begin(job=(job.id, job.fence.value) if number == 0 else None, upper_usd=0.5))
    lasting = a_begin()
    kept = await alive.begin(lasting)
    await let_die(redis, "w1")
    swept = await store.sweep()
    assert (swept.rescued, swept.lost) == ((job_id,), 3)
    assert (await store.sweep()).lost == 0
    booked = sums(await ledger(redis))
    assert booked == {"calls": 3, "lost": 3, "maybe_billed": 3, "lost_upper_usd": 1.5, "maybe_upper_usd": 1.5}
    again = await must_claim(store, "w2")
    assert [(each.outcome, each.cost_usd, each.provider) for each in again.attempts] == [("lost", None, "alpha")]
    state = await alive.end(an_end(lasting, kept))
    assert state.in_flight == 0
    assert await redis.exists(f"{PREFIX}:attempts:w1") == 0


async def test_an_attempt_lost_later_joins_those_the_job_has_already(redis: aioredis.Redis) -> None:
    store = JobStore(redis)
    await submitted(store)
    for deaths in (1, 2):
        job = await must_claim(store, "w1")
        await gate_of(redis).begin(a_begin(job=(job.id, job.fence.value), model=f'tricky "{deaths}"'))
        await let_die(redis, "w1")
        await store.sweep()
    job = await must_claim(store, "w2", classes=(ReadyClass.SUSPECT,))
    assert [each.model for each in job.attempts] == ['tricky "1"', 'tricky "2"']


async def test_more_attempts_than_one_sweep_takes_are_lost_over_several_before_the_jobs_come_back(
    redis: aioredis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.jobs.store.job_store.RESCUED_IN_ONE_GO", 3)
    store, gate = JobStore(redis), gate_of(redis)
    ids = await submitted(store, 2)
    for _ in ids:
        await must_claim(store, "w1")
    for _ in range(5):
        await gate.begin(a_begin())
    await let_die(redis, "w1")
    swept = [await store.sweep(), await store.sweep()]
    assert [(each.lost, len(each.rescued)) for each in swept] == [(3, 0), (2, 2)]
    assert sums(await ledger(redis))["lost"] == 5


async def test_a_dead_worker_s_permit_is_free_at_once(redis: aioredis.Redis) -> None:
    twin, store = redis_twin(redis), JobStore(redis)
    await twin.several(5, Verdict.FAILED)
    await twin.advance(12_001)
    assert (await twin.begin(timeout_ms=600_000)).probing
    await let_die(redis, "w1")
    assert (await store.sweep()).lost == 1
    assert (await twin.begin()).probing


async def test_the_end_of_a_call_that_was_booked_as_lost_changes_nothing(redis: aioredis.Redis) -> None:
    store, gate = JobStore(redis), gate_of(redis)
    asked = a_begin()
    admission = await gate.begin(asked)
    await let_die(redis, "w1")
    await store.sweep()
    state = await gate.end(an_end(asked, admission, Verdict.FAILED))
    assert (state.in_flight, state.failures) == (0, 0)
    assert sums(await ledger(redis)) == {
        "calls": 1,
        "lost": 1,
        "maybe_billed": 1,
        "lost_unbounded": 1,
        "maybe_unbounded": 1,
    }


async def test_a_worker_that_only_calls_is_found_by_rescue(redis: aioredis.Redis) -> None:
    await gate_of(redis, "prober").begin(a_begin(probe=True))
    await let_die(redis, "prober")
    assert (await JobStore(redis).sweep()).lost == 1
    assert sums(await ledger(redis), tenant="(probe)")["lost"] == 1


async def test_a_worker_that_retires_leaves_no_attempt_open(redis: aioredis.Redis) -> None:
    store = JobStore(redis)
    for _ in range(3):
        await gate_of(redis).begin(a_begin())
    await store.retire("w1")
    assert await redis.exists(f"{PREFIX}:attempts:w1", f"{PREFIX}:inflight:alpha:model-1", f"{PREFIX}:workers") == 0
    assert sums(await ledger(redis))["lost"] == 3


async def test_a_call_given_up_before_its_answer_is_closed_and_not_booked(redis: aioredis.Redis) -> None:
    gate = gate_of(redis)
    await gate.begin(a_begin(attempt="kept"))
    tasks = [asyncio.create_task(gate.begin(a_begin())) for _ in range(20)]
    await asyncio.sleep(0)  # they have asked
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)
    await gate.close()
    assert await redis.hkeys(f"{PREFIX}:attempts:w1") == [b"kept"]
    assert await ledger(redis) == {}


async def test_an_end_is_written_though_its_caller_is_cancelled(redis: aioredis.Redis) -> None:
    gate = gate_of(redis)
    asked = a_begin()
    ending = asyncio.create_task(gate.end(an_end(asked, await gate.begin(asked))))
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)
    await gate.close()
    assert sums(await ledger(redis))["calls"] == 1


async def test_everything_passes_when_memory_is_out(redis: aioredis.Redis) -> None:
    store, gate = JobStore(redis), gate_of(redis)
    await submitted(store)
    await must_claim(store, "w1")
    await let_die(redis, "w1")
    await redis.config_set("maxmemory", 1)
    try:
        asked, lost = a_begin(), a_begin()
        admission = await gate.begin(asked)
        await gate.end(an_end(asked, admission, Verdict.ACCOUNT))
        await gate.down("beta", "checked")
        assert (await gate.begin(lost)).refusal is Refusal.OPEN
        assert (await gate.begin(a_begin(provider="gamma"))).admitted
        assert len(await gate.states()) == 2
        assert (await store.sweep()).lost == 1
    finally:
        await redis.config_set("maxmemory", 0)
    assert sums(await ledger(redis)) == {
        "calls": 2,
        "failed": 1,
        "cost_usd": 0.25,
        "lost": 1,
        "maybe_billed": 1,
        "lost_unbounded": 1,
        "maybe_unbounded": 1,
    }


async def test_every_key_has_an_expiry_or_is_in_the_key_map(redis: aioredis.Redis, redis_url: str) -> None:
    twin, store = redis_twin(redis), JobStore(redis)
    await submitted(store)
    job = await must_claim(store, "w1")
    await twin.several(5, Verdict.FAILED)
    await twin.call(Verdict.ACCOUNT, begin={"model": "other"})
    await twin.begin(provider="beta", job=(job.id, job.fence.value))
    await twin.gate.end(an_end(a_begin(), await twin.begin(provider="beta")), apart=True)  # type: ignore[call-arg]
    await store.complete(job.fence, success(), nonce=nonce())
    await store.renew("w1")
    await store.sweep()
    with sync_redis.Redis.from_url(redis_url) as client:
        assert audit(client) == []
        client.hset(f"{PREFIX}:inflight:beta", "w9", 3)  # the audit can fail
        assert audit(client) == ["aip:inflight:beta has 3 calls of w9, with 0 attempts open"]
        kinds = {name.decode().split(":")[1] for name in client.keys(f"{PREFIX}:*")}
    assert kinds >= {"breaker", "inflight", "attempts", "targets", "cost", "booked"}


async def test_names_of_any_kind_are_told_apart_and_told_back(redis: aioredis.Redis) -> None:
    gate = gate_of(redis)
    names = ["a:b", "a", "a|b", "ä b\n", "x" * 5_000, "x" * 4_999 + "y", "%3A", "{}", "../*"]
    for name in names:
        asked = a_begin(provider="a:b", model=name, tenant="t|u")
        await gate.end(an_end(asked, await gate.begin(asked)))
    assert {state.model for state in await gate.states()} == set(names)
    rows = await ledger(redis)
    assert {tenant for tenant, *_ in rows} == {"t|u"}
    assert len([what for *_, what in rows if what == "calls"]) == len(names)
    assert all(len(name) < 250 for name in await redis.keys("*"))


async def test_the_targets_known_are_bounded(redis: aioredis.Redis) -> None:
    gate = gate_of(redis)
    await asyncio.gather(*(gate.begin(a_begin(model=f"m{number}")) for number in range(1_100)))
    assert await redis.zcard(f"{PREFIX}:targets") == 1_000
    assert len(await gate.states()) == 300


async def test_a_day_s_ledger_is_bounded(redis: aioredis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = gate_of(redis)
    text = "MOST_AMOUNTS = 90 * 86400000, 100000"
    source = gate._scripts["end"].script
    assert isinstance(source, str)
    assert text in source
    gate._scripts["end"] = redis.register_script(source.replace(text, "MOST_AMOUNTS = 90 * 86400000, 8"))
    for model in ("m1", "m2", "m3", "m4", "m1"):
        asked = a_begin(model=model)
        await gate.end(an_end(asked, await gate.begin(asked)))
    calls = {model: amount for (_, _, model, what), amount in (await ledger(redis)).items() if what == "calls"}
    assert calls == {"m1": 2, "m2": 1, "(other)": 2}
    assert sums(await ledger(redis), tenant=TENANT)["calls"] == 5


async def test_a_redis_clock_that_is_set_back_lets_one_call_try_and_no_more(redis: aioredis.Redis) -> None:
    twin = redis_twin(redis)
    await twin.several(5, Verdict.FAILED)
    await twin.advance(-HOUR_MS)
    [(asked, admission)] = await twin.opened()
    assert admission.probing
    assert [(await twin.begin()).refusal for _ in range(2)] == [Refusal.OPEN] * 2
    assert (await twin.end(asked, admission)).breaker is Breaker.CLOSED


async def test_after_redis_s_clock_was_set_back_429s_are_heeded_and_old_ones_are_over(redis: aioredis.Redis) -> None:
    twin = redis_twin(redis)
    await twin.call(Verdict.THROTTLED, retry_after_ms=HOUR_MS)
    await twin.advance(-HOUR_MS / 2)
    [(asked, admission)] = await twin.opened()
    assert admission.admitted
    assert 0 < (await twin.end(asked, admission, Verdict.THROTTLED)).throttled_ms <= 2_000
    assert (await twin.begin()).refusal is Refusal.THROTTLED
