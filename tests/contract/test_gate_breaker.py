"""Breakers, judged on the fleet's gate over a real Redis and on its memory twin."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio as aioredis

from tests.support.gates import TWINS, Twin, a_begin, local_twin, redis_twin, sums
from tests.support.machine import in_time
from workers.jobs.gate.models import NOT_CALLED, Breaker, Refusal, Verdict

pytestmark = pytest.mark.anyio

PROBE_MS, LATEST_MS = 10_000, 12_000
WORD = {Verdict.ACCOUNT: "account", Verdict.MODEL: "breaker"}


@pytest.fixture(params=TWINS)
def twin(request: pytest.FixtureRequest, redis: aioredis.Redis) -> Twin:
    return redis_twin(redis) if request.param == "redis" else local_twin()


async def test_a_call_is_let_through_and_its_end_is_learnt(twin: Twin) -> None:
    admission = await twin.begin(attempt="a1")
    assert (admission.admitted, admission.probing, admission.wait_ms) == (True, False, 0)
    assert (admission.state.in_flight, admission.state.breaker) == (1, Breaker.CLOSED)
    state = await twin.end(a_begin(attempt="a1"), admission, latency_ms=120)
    assert (state.in_flight, state.calls, state.failures, state.heard_ago_ms) == (0, 1, 0, 0)
    assert (state.latency_ms, state.success) == (120, 1)
    await twin.advance(500)
    later = await twin.state()
    assert later.heard_ago_ms is not None
    assert later.heard_ago_ms >= 500
    assert in_time(later.heard_ago_ms - 500, 100)


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.BAD])
async def test_five_failures_in_a_row_open_it_and_a_good_answer_starts_the_row_anew(
    twin: Twin, verdict: Verdict
) -> None:
    await twin.several(4, verdict)
    await twin.call()
    assert (await twin.several(4, verdict)).breaker is Breaker.CLOSED
    state = await twin.call(verdict, outcome="provider_unavailable")
    assert (state.breaker, state.reason, state.last_error) == (Breaker.OPEN, *["provider_unavailable"] * 2)
    assert state.next_probe_ms is not None
    assert 0.8 * PROBE_MS - 1 <= state.next_probe_ms <= LATEST_MS
    refused = await twin.begin()
    assert refused.refusal is Refusal.OPEN
    assert 0 < refused.wait_ms <= LATEST_MS
    assert refused.state.in_flight == 0


@pytest.mark.parametrize("verdict", [Verdict.ALIVE, Verdict.THROTTLED, Verdict.STOPPED])
async def test_what_is_no_failure_neither_counts_nor_breaks_a_row(twin: Twin, verdict: Verdict) -> None:
    await twin.several(4, Verdict.FAILED)
    for _ in range(6):
        await twin.call(verdict)
        await twin.advance(61_000)  # a 429 keeps others away for a while
    assert (await twin.state()).breaker is Breaker.CLOSED
    assert (await twin.call(Verdict.FAILED)).breaker is Breaker.OPEN


async def test_half_of_twenty_calls_within_the_window_open_it_and_nineteen_do_not(twin: Twin) -> None:
    for number in range(18):
        await twin.call(Verdict.FAILED if number % 2 else Verdict.GOOD)
    state = await twin.call(Verdict.GOOD)
    assert (state.breaker, state.calls, state.failures) == (Breaker.CLOSED, 19, 9)
    assert (await twin.call(Verdict.FAILED)).breaker is Breaker.OPEN


async def test_calls_older_than_the_window_are_forgotten(twin: Twin) -> None:
    for _ in range(12):
        await twin.call(Verdict.FAILED)
        await twin.call()
        await twin.advance(3_100)
    state = await twin.state()
    assert state.breaker is Breaker.CLOSED
    assert state.calls <= 20
    await twin.advance(31_000)
    assert (await twin.state()).calls == 0


async def test_an_open_breaker_lets_one_call_try_and_its_good_answer_closes_it(twin: Twin) -> None:
    await twin.several(5, Verdict.FAILED)
    await twin.advance(LATEST_MS)
    [(asked, permit)] = await twin.opened()
    assert (permit.admitted, permit.probing, permit.state.breaker) == (True, True, Breaker.HALF_OPEN)
    others = await asyncio.gather(*(twin.begin() for _ in range(20)))
    assert {each.refusal for each in others} == {Refusal.OPEN}
    state = await twin.end(asked, permit)
    assert (state.breaker, state.success, state.calls, state.reason) == (Breaker.CLOSED, 1, 1, "")
    assert (await twin.begin()).admitted


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.BAD])
async def test_a_try_that_fails_opens_it_for_another_pause(twin: Twin, verdict: Verdict) -> None:
    await twin.several(5, Verdict.FAILED)
    for _ in range(4):
        await twin.advance(LATEST_MS)
        state = await twin.call(verdict)
        assert state.breaker is Breaker.OPEN
        assert state.next_probe_ms is not None
        assert 0.8 * PROBE_MS - 1 <= state.next_probe_ms <= LATEST_MS
    assert state.opened_ago_ms is not None
    assert state.opened_ago_ms >= 4 * LATEST_MS


@pytest.mark.parametrize("verdict", [Verdict.ALIVE, Verdict.STOPPED])
async def test_a_try_that_says_nothing_leaves_the_next_one_to_try_at_once(twin: Twin, verdict: Verdict) -> None:
    await twin.several(5, Verdict.FAILED)
    await twin.advance(LATEST_MS)
    assert (await twin.call(verdict)).breaker is Breaker.OPEN
    assert (await twin.begin()).probing


async def test_a_try_that_is_throttled_leaves_the_next_one_to_try_after_retry_after(twin: Twin) -> None:
    await twin.several(5, Verdict.FAILED)
    await twin.advance(LATEST_MS)
    state = await twin.call(Verdict.THROTTLED, retry_after_ms=7_000)
    assert (state.breaker, state.next_probe_ms) == (Breaker.OPEN, 7_000)
    await twin.advance(6_000)
    assert (await twin.begin()).refusal is Refusal.OPEN
    await twin.advance(1_001)
    assert (await twin.begin()).probing


async def test_a_permit_whose_holder_is_gone_runs_out_and_its_late_answer_changes_nothing(twin: Twin) -> None:
    await twin.several(5, Verdict.FAILED)
    await twin.advance(LATEST_MS)
    [(lost, first)] = await twin.opened(timeout_ms=3_000)
    await twin.advance(7_900)
    waiting = await twin.begin()
    assert waiting.refusal is Refusal.OPEN
    assert waiting.wait_ms <= 200
    await twin.advance(200)
    [(asked, second)] = await twin.opened()
    assert second.probing
    assert second.epochs == (0, 2)
    assert (await twin.end(lost, first)).breaker is Breaker.HALF_OPEN
    assert (await twin.end(asked, second, Verdict.FAILED)).breaker is Breaker.OPEN
    assert sums(await twin.booked())["calls"] == 7


async def test_ends_of_an_older_epoch_change_nothing_but_are_booked(twin: Twin) -> None:
    slow = [(await twin.opened())[0] for _ in range(8)]
    await twin.several(5, Verdict.FAILED)
    await twin.advance(LATEST_MS)
    [(asked, permit)] = await twin.opened()
    await twin.end(*slow[0])  # good, but of calls made before
    assert (await twin.state()).breaker is Breaker.HALF_OPEN
    await twin.end(asked, permit)
    for late in slow[1:7]:
        await twin.end(*late, Verdict.FAILED)
    state = await twin.end(*slow[7], latency_ms=60_000)
    assert (state.breaker, state.failures, state.success, state.latency_ms) == (Breaker.CLOSED, 0, 1, 100)
    assert (state.in_flight, sums(await twin.booked())["calls"]) == (0, 14)


@pytest.mark.parametrize("verdict", [Verdict.ACCOUNT, Verdict.MODEL])
async def test_a_fault_of_the_account_or_the_model_opens_at_once_with_a_growing_pause(
    twin: Twin, verdict: Verdict
) -> None:
    pauses = []
    for _ in range(7):
        state = await twin.call(verdict)
        assert getattr(state, WORD[verdict]) is Breaker.OPEN
        assert state.next_probe_ms is not None
        pauses.append(state.next_probe_ms)
        await twin.advance(state.next_probe_ms + 1)
    expected = [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]
    assert all(0.8 * wanted - 1 <= got <= 1.2 * wanted for wanted, got in zip(expected, pauses, strict=True))
    assert (await twin.call()).next_probe_ms is None
    first_again = (await twin.call(verdict)).next_probe_ms
    assert first_again is not None
    assert first_again <= LATEST_MS


async def test_an_account_is_shut_for_all_its_models_and_one_answer_of_any_opens_it(twin: Twin) -> None:
    await twin.call(begin={"model": "other"})
    await twin.call(Verdict.ACCOUNT, outcome="provider_quota")
    refused = await twin.begin(model="other")
    assert (refused.refusal, refused.state.account, refused.state.reason) == (
        Refusal.OPEN, Breaker.OPEN, "provider_quota",
    )  # fmt: skip
    assert (await twin.begin(provider="beta")).admitted
    await twin.advance(LATEST_MS)
    state = await twin.call(begin={"model": "other"})
    assert state.account is Breaker.CLOSED
    assert (await twin.begin()).admitted


async def test_where_both_are_open_one_call_tries_for_both_and_closes_both(twin: Twin) -> None:
    await twin.several(5, Verdict.FAILED)
    await twin.call(Verdict.ACCOUNT, begin={"model": "other"})
    await twin.advance(LATEST_MS)
    [(asked, permit)] = await twin.opened()
    assert permit.epochs == (1, 1)
    assert (await twin.begin(model="other")).refusal is Refusal.OPEN
    state = await twin.end(asked, permit)
    assert (state.breaker, state.account) == (Breaker.CLOSED, Breaker.CLOSED)


async def test_a_model_s_try_that_meets_a_fault_of_the_account_opens_the_account_and_gives_its_permit_back(
    twin: Twin,
) -> None:
    await twin.several(5, Verdict.FAILED)
    await twin.advance(LATEST_MS)
    state = await twin.call(Verdict.ACCOUNT)
    assert (state.breaker, state.account) == (Breaker.OPEN, Breaker.OPEN)
    await twin.advance(LATEST_MS)
    state = await twin.call()
    assert (state.breaker, state.account) == (Breaker.CLOSED, Breaker.CLOSED)


async def test_a_provider_that_a_check_found_down_is_shut_until_it_answers_well(twin: Twin) -> None:
    await twin.call()
    await twin.gate.down("alpha", "provider_unavailable")
    await twin.gate.down("alpha", "again")
    state = await twin.state()
    assert (state.account, state.reason) == (Breaker.OPEN, "provider_unavailable")
    assert (await twin.begin()).refusal is Refusal.OPEN
    await twin.advance(LATEST_MS)
    assert (await twin.call(begin={"probe": True})).account is Breaker.CLOSED


async def test_a_silent_call_counts_once_and_its_end_not_again(twin: Twin) -> None:
    calls = [(await twin.opened())[0] for _ in range(5)]
    for asked, admission in calls[:4]:
        for _ in range(2):  # sent twice
            await twin.end(asked, admission, Verdict.FAILED, outcome="provider_timeout", final=False)
    assert (await twin.state()).failures == 4
    for asked, admission in calls[:3]:
        await twin.end(asked, admission, Verdict.FAILED)
    state = await twin.end(*calls[3], latency_ms=9_000)
    assert (state.breaker, state.failures, state.calls, state.latency_ms) == (Breaker.CLOSED, 4, 5, 9_000)
    assert (state.in_flight, sums(await twin.booked())["calls"]) == (1, 4)


async def test_silent_calls_open_a_breaker_before_any_of_them_ends(twin: Twin) -> None:
    calls = [(await twin.opened())[0] for _ in range(5)]
    for asked, admission in calls:
        state = await twin.end(asked, admission, Verdict.FAILED, outcome="provider_timeout", final=False)
    assert (state.breaker, state.in_flight) == (Breaker.OPEN, 5)
    assert sums(await twin.booked()) == {}


async def test_the_same_begin_and_the_same_end_again_do_nothing_again(twin: Twin) -> None:
    asked = a_begin()
    first = await twin.gate.begin(asked)
    again = await twin.gate.begin(asked)
    assert (again.admitted, again.state.in_flight, again.epochs) == (True, 1, first.epochs)
    for _ in range(6):
        state = await twin.end(asked, first, Verdict.FAILED)
    assert (state.breaker, state.failures, state.in_flight) == (Breaker.CLOSED, 1, 0)
    assert sums(await twin.booked()) == {"calls": 1, "failed": 1, "cost_usd": 0.25}


async def test_the_same_permit_asked_for_again_is_the_same_permit(twin: Twin) -> None:
    await twin.several(5, Verdict.FAILED)
    await twin.advance(LATEST_MS)
    asked = a_begin()
    first, again = await twin.gate.begin(asked), await twin.gate.begin(asked)
    assert (first.probing, again.probing, first.epochs, again.epochs) == (True, True, (0, 1), (0, 1))
    assert (await twin.end(asked, again)).breaker is Breaker.CLOSED


async def test_an_end_without_a_begin_changes_nothing(twin: Twin) -> None:
    admission = await twin.begin()
    for _ in range(6):
        state = await twin.end(a_begin(), admission, Verdict.FAILED)
    assert (state.failures, state.in_flight, await twin.booked()) == (0, 1, {})


async def test_a_call_that_was_never_made_is_closed_and_not_booked(twin: Twin) -> None:
    [(asked, admission)] = await twin.opened()
    state = await twin.end(asked, admission, Verdict.STOPPED, outcome=NOT_CALLED, cost_usd=0)
    assert (state.in_flight, state.calls, await twin.booked()) == (0, 0, {})


async def test_what_is_booked_is_what_was_called(twin: Twin) -> None:
    await twin.call()
    await twin.call(cost_usd=None)
    await twin.call(Verdict.FAILED, cost_usd=0.5)
    await twin.call(begin={"probe": True}, cost_usd=0.125)
    booked = await twin.booked()
    assert sums(booked) == {"calls": 3, "failed": 1, "unpriced": 1, "cost_usd": 0.75, "prompt_tokens": 6,
                            "completion_tokens": 8}  # fmt: skip
    assert sums(booked, tenant="(probe)") == {
        "calls": 1, "cost_usd": 0.125, "prompt_tokens": 3, "completion_tokens": 4,
    }  # fmt: skip


async def test_latency_goes_up_at_once_and_down_slowly(twin: Twin) -> None:
    await twin.call(latency_ms=100)
    assert (await twin.call(latency_ms=2_000)).latency_ms == 2_000
    await twin.advance(1_000)
    soon = (await twin.call(latency_ms=100)).latency_ms
    assert soon is not None
    assert 1_800 < soon < 1_900
    await twin.advance(60_000)
    late = (await twin.call(latency_ms=100)).latency_ms
    assert late is not None
    assert late < 120


async def test_the_share_of_good_answers_falls_with_failures_and_comes_back_with_time(twin: Twin) -> None:
    await twin.several(3, Verdict.FAILED)
    worse = (await twin.state()).success
    assert 0.7 < worse < 0.75
    await twin.advance(60_000)
    assert 0.88 < (await twin.state()).success < 0.92


async def test_a_slow_answer_is_forgiven_with_time_so_that_a_provider_nobody_asked_is_asked_again(twin: Twin) -> None:
    assert (await twin.call(latency_ms=60_000)).latency_ms == 60_000
    await twin.advance(60_000)
    soon = (await twin.state()).latency_ms
    await twin.advance(1_740_000)
    later = (await twin.state()).latency_ms
    assert soon is not None
    assert later is not None
    assert 40_000 < soon < 60_000
    assert 1_000 < later < 1_200


async def test_a_fast_answer_is_remembered_as_fast(twin: Twin) -> None:
    await twin.call(latency_ms=120)
    await twin.advance(1_800_000)
    assert (await twin.state()).latency_ms == 120
