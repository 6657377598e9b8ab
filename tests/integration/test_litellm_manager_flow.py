"""The manager's steps together: cache, shared calls, waits for a provider, budgets, silence, cancels that leak nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import redis.asyncio as aioredis

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.config_core.sections import Breakers, Retries
from infrastructure.core.config_core.settings import ProviderLimits
from infrastructure.core.logger_core import get_logger
from infrastructure.core.redis_core import connect
from tests.support.jobs import must_claim, shared_store, submitted
from tests.support.late_loop import late_loop
from tests.support.logs import caught_log
from tests.support.machine import in_time
from tests.support.providers import OverheardGate, StartManager, account, call, requests, settings_of
from tests.support.sandbox import SandboxProcess
from tests.support.waiting import eventually
from workers.jobs.gate.fleet_gate import FleetGate
from workers.jobs.gate.local_gate import LocalGate
from workers.jobs.gate.models import Admission, Begin, Breaker, Refusal
from workers.jobs.gate.redis_gate import RedisGate
from workers.jobs.models import Attempt
from workers.providers.caching.response_cache import ResponseCache, core_cache
from workers.providers.flights.flights import Flights
from workers.providers.litellm_manager import CompletionFailed, JobGone, LiteLLMManager, PutBack

pytestmark = pytest.mark.anyio
TIMED_OUT = Attempt(provider="first", model="sandbox-small", outcome="provider_timeout", status=None, latency_ms=1, cost_usd=None)  # fmt: skip


@asynccontextmanager
async def running(manager: LiteLLMManager) -> AsyncIterator[None]:
    """Have what goes on beside the calls go on."""
    tasks = [asyncio.create_task(work()) for work in manager.background().values()]
    try:
        yield
    finally:
        await end_tasks(tasks)


async def test_a_repeated_request_is_answered_from_the_cache_and_says_what_that_saved(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only")), cache=ResponseCache(core_cache()))
    first = await manager.completion(call("Twice?"))
    with caught_log() as log:
        again = await manager.completion(call("Twice?"))
    assert requests(sandbox, "only") == 1
    assert (first.cache, again.cache, again.result, again.usage) == ("miss", "hit", first.result, first.usage)
    assert (again.attempts, again.cost_usd, again.saved_usd) == ((), 0.0, first.cost_usd)
    assert again.saved_ms is not None
    assert 0 < again.saved_ms <= first.latency_ms
    (line,) = log.lines
    assert line["message"] == "Cache hit for completion request"
    assert set(line["context"]) == {"cache_key", "performance_improvement", "response_time_ms"}
    assert line["context"]["performance_improvement"].endswith("% faster")


async def test_a_request_says_how_it_uses_the_cache(sandbox: SandboxProcess, start_manager: StartManager) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only")), cache=ResponseCache(core_cache()))

    async def asked(mode: str | None) -> tuple[str, int]:
        answer = await manager.completion(replace(call("How?"), cache={"mode": mode, "ttl": None}))
        return answer.cache, requests(sandbox, "only")

    assert [await asked(mode) for mode in ("off", "use", "use", "refresh", "off", "auto", None)] == [
        ("miss", 1), ("miss", 2), ("hit", 2), ("miss", 3), ("miss", 4), ("miss", 5), ("hit", 5),
    ]  # fmt: skip


async def test_equal_requests_at_once_share_one_call_and_one_of_them_pays(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    flights: Flights[Any] = Flights(None, owner="me")
    manager = await start_manager(settings_of(only=account(sandbox, "only")), flights=flights)
    sandbox.set_faults({"action": {"latency_s": 0.3}})
    answers = await asyncio.gather(*(manager.completion(call("All at once?")) for _ in range(50)))
    await flights.close()
    assert requests(sandbox, "only") == 1
    (paid,) = [one for one in answers if one.cache == "miss"]
    joined = [one for one in answers if one.cache == "joined"]
    assert len(joined) == 49
    assert {(one.cost_usd, one.saved_usd, one.attempts) for one in joined} == {(0.0, paid.cost_usd, ())}
    assert all(one.saved_ms and one.saved_ms >= 300 for one in joined)


async def test_an_answer_that_the_cache_has_lost_is_a_hit_while_its_flight_is_kept_and_goes_back_into_the_cache(
    sandbox: SandboxProcess, start_manager: StartManager, redis: aioredis.Redis
) -> None:
    flights: Flights[Any] = Flights(redis, owner="me")
    await flights.start()
    cache = core_cache(redis=redis)
    manager = await start_manager(
        settings_of(only=account(sandbox, "only")), cache=ResponseCache(cache), flights=flights
    )
    first = await manager.completion(call("Kept?"))
    await eventually(lambda: not flights._pilots, what="the flight has ended")
    assert await cache.invalidate()
    answers = [await manager.completion(call("Kept?"))]
    await eventually(lambda: not flights._pilots, what="the answer is in the cache again")
    assert await redis.delete(*(await redis.keys("aip:flight:*"))) == 1
    answers.append(await manager.completion(call("Kept?")))
    await flights.close()
    await cache.close()
    assert requests(sandbox, "only") == 1
    assert [(one.cache, one.cost_usd, one.saved_usd, one.result) for one in answers] == [
        ("hit", 0.0, first.cost_usd, first.result)
    ] * 2


async def test_a_burst_on_a_late_loop_is_paid_once(
    sandbox: SandboxProcess, start_manager: StartManager, redis_url: str
) -> None:
    async def burst(owner: str) -> list[str]:
        redis = connect(redis_url, max_connections=16)
        flights, cache = Flights[Any](redis, owner=owner), core_cache(redis=redis)
        await flights.start()
        await cache.start()
        settings = settings_of(only=account(sandbox, "only"))
        manager = await start_manager(settings, cache=ResponseCache(cache), flights=flights)
        answers = await asyncio.gather(*(manager.completion(call(f"Question {n}?", within_s=60)) for n in range(40)))
        await flights.close()
        await manager.close()
        await cache.close()
        for kept in await redis.keys("aip:flight:*"):
            await redis.delete(kept)
        await redis.aclose()
        return [one.cache for one in answers]

    async with late_loop():
        assert await burst("first") == ["miss"] * 40
        assert await burst("second") == ["hit"] * 40
    assert requests(sandbox, "only") == 40


async def test_all_candidates_cooling_down_put_the_job_back_without_a_call_and_past_its_deadline_fail_it(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    gate = LocalGate()
    manager = await start_manager(
        settings_of(first=account(sandbox, "first"), second=account(sandbox, "second")), gate=gate
    )
    for provider in ("first", "second"):
        await gate.down(provider, "provider_unavailable")
    with pytest.raises(PutBack) as aside:
        await manager.completion(call(within_s=100))
    assert 8_000 <= aside.value.wait_ms <= 14_400
    assert aside.value.reason.count("is left alone after provider_unavailable") == 2
    assert aside.value.attempts == ()
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call(within_s=2))
    assert (failed.value.job_code, failed.value.attempts) == ("no_candidate_available", ())
    assert "first/" in failed.value.message
    assert "is left alone after provider_unavailable" in failed.value.message
    assert sandbox.counters()["requests"] == 0


async def test_a_provider_back_from_an_outage_is_tried_once_and_used_again(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    gate = LocalGate(breakers=lambda: Breakers(probe_s=0.3))
    manager = await start_manager(settings_of(only=account(sandbox, "only")), gate=gate)
    sandbox.set_faults({"preset": "openai-500"})
    waits: list[int] = []

    async def opened() -> bool:
        try:
            await manager.completion(call())
        except PutBack as aside:
            waits.append(aside.wait_ms)
        return (await gate.states())[0].breaker is Breaker.OPEN

    await eventually(opened, what="the breaker opens")
    assert waits[-1] <= 0.3 * 1.2 * 1_200
    before = requests(sandbox, "only")
    assert before <= 6
    sandbox.set_faults()
    answer = await manager.completion(call())  # the wait is short: no need to be put back
    assert answer.attempts[0].breaker == "half_open"
    assert (await manager.completion(call("And now?"))).attempts[0].breaker == "closed"


async def test_a_model_that_is_not_for_us_fails_the_next_job_without_a_call(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only")))
    sandbox.set_faults({"preset": "openai-404"})
    for attempts in (1, 0):
        with pytest.raises(CompletionFailed) as failed:
            await manager.completion(call())
        assert (failed.value.job_code, len(failed.value.attempts)) == ("model_unavailable", attempts)
    assert requests(sandbox, "only") == 1


async def test_at_most_one_attempt_more_than_candidates_is_made(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    names = ("first", "second", "third")
    manager = await start_manager(settings_of(**{name: account(sandbox, name) for name in names}))
    sandbox.set_faults({"preset": "openai-503"})
    with pytest.raises(PutBack) as aside:
        await manager.completion(call(within_s=100))
    assert [one.provider for one in aside.value.attempts] == [*names, "third"]
    assert sandbox.counters()["requests"] == 4


async def test_a_candidate_that_timed_out_for_this_job_is_never_asked_again_for_it(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    manager = await start_manager(settings_of(first=account(sandbox, "first"), second=account(sandbox, "second")))
    assert (await manager.completion(replace(call(), earlier=(TIMED_OUT,)))).provider == "second"
    both = (TIMED_OUT, replace(TIMED_OUT, provider="second"))
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(replace(call(), earlier=both))
    assert failed.value.job_code == "provider_timeout"


async def test_an_empty_retry_budget_makes_the_job_wait_not_fail(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    settings = settings_of(first=account(sandbox, "first"), second=account(sandbox, "second"))
    manager = await start_manager(settings.model_copy(update={"retries": Retries(tokens=20)}))
    sandbox.set_faults({"preset": "openai-500", "match": {"instance": "first"}}, {"action": {"latency_s": 0.3}})
    ends = await asyncio.gather(*(manager.completion(call(str(number))) for number in range(3)), return_exceptions=True)
    answered = [one for one in ends if not isinstance(one, BaseException)]
    waiting = [one for one in ends if isinstance(one, PutBack)]
    assert (len(answered), len(waiting)) == (1, 2)
    assert all(1_500 <= one.wait_ms <= 1_800 and len(one.attempts) == 1 for one in waiting)
    assert (await manager.completion(call("3"))).provider == "second"


async def test_a_provider_with_one_call_at_a_time_gets_one_and_the_next_waits_a_moment(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    only = account(sandbox, "only", limits=ProviderLimits(concurrency=1))
    manager = await start_manager(settings_of(only=only))
    sandbox.set_faults({"action": {"latency_s": 0.1}})
    await asyncio.gather(*(manager.completion(call(str(number))) for number in range(3)))
    assert (requests(sandbox, "only"), sandbox.counters()["peak_in_flight"]) == (3, 1)


async def test_a_provider_that_falls_silent_is_left_alone_before_its_timeout(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    gate = OverheardGate()
    settings = settings_of(first=account(sandbox, "first", timeout_s=60), second=account(sandbox, "second"))
    manager = await start_manager(settings, gate=gate)
    for number in range(20):
        await manager.completion(call(f"well {number}"))
    sandbox.set_faults({"preset": "openai-hang", "match": {"instance": "first"}})
    async with running(manager):
        hanging = [asyncio.create_task(manager.completion(call(str(number)))) for number in range(5)]
        began = time.monotonic()

        async def left_alone() -> bool:
            return {one.provider: one.breaker for one in await gate.states()}["first"] is Breaker.OPEN

        await eventually(left_alone, what="the breaker opens")
        assert (took_s := time.monotonic() - began) >= 1
        assert in_time(took_s, 5)
        assert (await manager.completion(call("next"))).attempts[0].provider == "second"
        await end_tasks(hanging)
    await manager.close()
    assert [one.final for one in gate.ended if one.outcome == "silent"] == [False] * 5
    assert gate.left_open() == set()


async def test_no_call_outlives_its_deadline_by_much_whatever_the_provider_does(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    for preset in ("openai-hang", "openai-500", "openai-429-retry-after-garbage"):
        manager = await start_manager(settings_of(first=account(sandbox, "first"), second=account(sandbox, "second")))
        sandbox.set_faults({"preset": preset})
        for within_s in (0.2, 0.7):
            began = time.monotonic()
            with pytest.raises((CompletionFailed, PutBack)) as ended:
                await manager.completion(call(within_s=within_s))
            assert in_time(time.monotonic() - began, within_s + 1)
            if isinstance(ended.value, PutBack):
                assert time.monotonic() + ended.value.wait_ms / 1_000 < began + within_s


@asynccontextmanager
async def fleet_gate(redis: aioredis.Redis) -> AsyncIterator[FleetGate]:
    """Give a gate on Redis."""
    gate = FleetGate(
        RedisGate(redis, prefix="aip", owner="w1", breakers=Breakers),
        LocalGate(),
        log=get_logger("ai-provider", "test"),
    )
    yield gate
    await gate.close()


# LiteLLM makes its coroutine in a thread; one whose caller is gone by then is never awaited.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
async def test_a_cancel_at_any_moment_leaves_no_attempt_open(
    sandbox: SandboxProcess, start_manager: StartManager, redis: aioredis.Redis
) -> None:
    async with fleet_gate(redis) as gate:
        manager = await start_manager(settings_of(only=account(sandbox, "only")), gate=gate)
        await manager.completion(call("warm"))
        cancelled = 0
        for steps in range(60):
            task = asyncio.create_task(manager.completion(call(f"step {steps}")))
            for _ in range(steps):
                await asyncio.sleep(0 if steps < 40 else 0.0003)
            cancelled += task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert cancelled > 20

        async def closed() -> bool:
            return await redis.hlen("aip:attempts:w1") == 0

        await eventually(closed, what="no attempt is open")
        state = (await gate.states())[0]
        assert (state.in_flight, state.breaker) == (0, Breaker.CLOSED)
        assert (await manager.completion(call("after"))).provider == "only"


async def test_nothing_is_called_for_a_job_that_is_not_ours_any_more(
    sandbox: SandboxProcess, start_manager: StartManager, redis: aioredis.Redis, redis_url: str
) -> None:
    async with fleet_gate(redis) as gate, shared_store(redis_url) as store:
        manager = await start_manager(settings_of(only=account(sandbox, "only")), gate=gate)
        await submitted(store)
        job = await must_claim(store)
        mine = replace(call(), job=(job.id, job.fence.value))
        assert (await manager.completion(mine)).provider == "only"
        await store.cancel(job.id, tenant=None)
        with pytest.raises(JobGone):
            await manager.completion(replace(call("again"), job=mine.job))
        assert requests(sandbox, "only") == 1


async def test_a_request_that_speaks_of_money_does_not_close_an_account_to_everybody(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    gate = LocalGate()
    settings = settings_of(first=account(sandbox, "first"), second=account(sandbox, "second"))
    manager = await start_manager(settings, gate=gate)
    echo = {"status": 400, "error": {"message": "Invalid value: 'my credit balance'."}}
    sandbox.set_faults({"match": {"instance": "first"}, "action": echo, "times": 1})
    answer = await manager.completion(call("Explain: insufficient_quota. What is my credit balance?"))
    assert [one.outcome for one in answer.attempts] == ["provider_quota", "ok"]
    assert {state.account for state in await gate.states()} == {Breaker.CLOSED}
    assert (await manager.completion(call())).provider == "first"
    sandbox.set_faults({"match": {"instance": "first"}, "action": echo})
    assert (await manager.completion(call("Nothing of the kind?"))).provider == "second"
    assert (await gate.states())[0].provider == "second"
    assert {state.provider: state.account for state in await gate.states()}["first"] is Breaker.OPEN


async def test_a_try_is_waited_for_as_long_as_its_call_may_take_with_those_who_join_it_later(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    gate, flights = OverheardGate(), Flights[Any](None, owner="me")
    manager = await start_manager(settings_of(only=account(sandbox, "only", timeout_s=30)), gate=gate, flights=flights)
    sandbox.set_faults({"action": {"latency_s": 0.6}})
    hurried = asyncio.create_task(manager.completion(call("Both?", within_s=0.3)))
    await eventually(lambda: len(gate.begun) == 1)
    patient = await manager.completion(call("Both?", within_s=20))
    with pytest.raises(CompletionFailed):
        await hurried
    await flights.close()
    assert (patient.provider, requests(sandbox, "only")) == ("only", 1)
    assert gate.begun[0].timeout_ms == 30_000  # one that tries a breaker holds its only permit for that long


class StaleGate(OverheardGate):
    """A gate to which a job is ours for its first call only."""

    async def begin(self, asked: Begin) -> Admission:
        """Decide."""
        admission = await super().begin(asked)
        return admission if asked.provider == "first" else replace(admission, refusal=Refusal.STALE)


async def test_a_retry_of_a_job_that_is_gone_gives_back_what_it_took(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    settings = settings_of(first=account(sandbox, "first"), second=account(sandbox, "second"))
    manager = await start_manager(settings, gate=StaleGate())
    sandbox.set_faults({"preset": "openai-500", "match": {"instance": "first"}})
    for _ in range(3):
        with pytest.raises(JobGone):
            await manager.completion(call())
    assert (manager._budget.left("second"), manager._budget.left()) == (500, 500)
