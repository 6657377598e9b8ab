"""Limits, 429s and what is learnt of them, judged on the fleet's gate over a real Redis and on its memory twin."""

from __future__ import annotations

import pytest
import redis.asyncio as aioredis

from tests.support.gates import TWINS, Twin, a_begin, local_twin, redis_twin
from tests.support.machine import in_time
from workers.jobs.gate.models import Breaker, Limits, Rates, Refusal, Verdict
from workers.jobs.gate.redis_gate import not_called

pytestmark = pytest.mark.anyio

MINUTE_MS = 60_000


@pytest.fixture(params=TWINS)
def twin(request: pytest.FixtureRequest, redis: aioredis.Redis) -> Twin:
    return redis_twin(redis) if request.param == "redis" else local_twin()


async def test_nobody_calls_before_retry_after(twin: Twin) -> None:
    state = await twin.call(Verdict.THROTTLED, retry_after_ms=7_000)
    assert (state.breaker, state.throttled_ms, state.last_error) == (Breaker.CLOSED, 7_000, "class_throttled")
    assert 0.09 < state.throttle <= 0.1
    refused = await twin.begin()
    assert refused.refusal is Refusal.THROTTLED
    assert 6_000 < refused.wait_ms <= 7_000
    await twin.advance(6_000)
    assert (await twin.begin()).refusal is Refusal.THROTTLED
    await twin.advance(1_001)
    assert (await twin.begin()).admitted


async def test_a_longer_retry_after_holds_and_none_holds_longer_than_an_hour(twin: Twin) -> None:
    calls = [(await twin.opened())[0] for _ in range(3)]
    await twin.end(*calls[0], Verdict.THROTTLED, retry_after_ms=20_000)
    assert (await twin.end(*calls[1], Verdict.THROTTLED, retry_after_ms=500)).throttled_ms > 19_000
    state = await twin.end(*calls[2], Verdict.THROTTLED, retry_after_ms=10**12)
    assert state.throttled_ms == 3_600_000


@pytest.mark.parametrize("retry_after_ms", [None, 0])
async def test_without_retry_after_the_wait_doubles_from_a_second_to_a_minute(
    twin: Twin, retry_after_ms: int | None
) -> None:
    waits = []
    for _ in range(8):
        state = await twin.call(Verdict.THROTTLED, within_ms=10, retry_after_ms=retry_after_ms)
        waits.append(state.throttled_ms)
        await twin.advance(state.throttled_ms + 1)
    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
    await twin.call()
    assert (await twin.call(Verdict.THROTTLED, within_ms=10)).throttled_ms == 1_000


async def test_a_wave_of_429s_counts_as_one(twin: Twin) -> None:
    wave = [(await twin.opened())[0] for _ in range(10)]
    await twin.advance(100)
    for asked, admission in wave:
        state = await twin.end(asked, admission, Verdict.THROTTLED)
    assert state.throttled_ms <= 1_000
    assert in_time(1_000 - state.throttled_ms, 100)
    assert state.concurrency_limit == 5


async def test_a_throttled_model_leaves_the_account_s_others_alone(twin: Twin) -> None:
    await twin.call(Verdict.THROTTLED, retry_after_ms=7_000)
    assert (await twin.begin(model="other")).admitted


async def test_no_more_calls_are_in_flight_at_an_account_than_configured(twin: Twin) -> None:
    limits = Limits(concurrency=3)
    calls = [(await twin.opened(model=f"m{number}", limits=limits))[0] for number in range(3)]
    refused = await twin.begin(limits=limits)
    assert refused.refusal is Refusal.FULL
    assert (await twin.begin(provider="beta", limits=limits)).admitted
    await twin.end(*calls[0], Verdict.FAILED)
    assert (await twin.begin(limits=limits)).admitted


@pytest.mark.parametrize("per_minute", [1, 3, 60, 600])
async def test_in_no_minute_more_requests_pass_than_configured(twin: Twin, per_minute: int) -> None:
    limits = Limits(requests_per_minute=per_minute)
    passed: list[float] = []
    now, step = 0.0, MINUTE_MS / per_minute / 4
    while now < 2.2 * MINUTE_MS and len(passed) < 150:
        admission = await twin.begin(limits=limits)
        if admission.admitted:
            passed.append(now)
        else:
            assert (admission.refusal, admission.wait_ms > 0) == (Refusal.RATE, True)
        await twin.advance(step)
        now += step
    slack = 0.02  # real time that passes besides
    for index in range(len(passed) - per_minute):
        assert passed[index + per_minute] - passed[index] > MINUTE_MS * (1 - slack)
    enough = min(150, 2 * (per_minute - max(1, per_minute // 20)))
    assert len(passed) >= enough  # and it is no stricter than it says


async def test_a_request_waits_no_longer_than_it_was_told(twin: Twin) -> None:
    limits = Limits(requests_per_minute=24)
    assert (await twin.begin(limits=limits)).admitted
    refused = await twin.begin(limits=limits)
    assert (refused.refusal, refused.wait_ms <= 2_500) == (Refusal.RATE, True)
    assert in_time(2_500 - refused.wait_ms, 500)
    await twin.advance(refused.wait_ms)
    assert (await twin.begin(limits=limits)).admitted


async def test_all_of_a_small_limit_may_come_at_once_and_the_next_one_waits_for_the_minute(twin: Twin) -> None:
    limits = Limits(requests_per_minute=10)
    asked = [a_begin(limits=limits) for _ in range(10)]
    admissions = [await twin.gate.begin(one) for one in asked]
    assert all(one.admitted for one in admissions)
    refused = await twin.begin(limits=limits)
    assert (refused.refusal, 55_000 < refused.wait_ms <= MINUTE_MS) == (Refusal.RATE, True)
    await twin.gate.end(not_called(asked[0], admissions[0]))
    assert (await twin.begin(limits=limits)).admitted, "what was not made is given back"
    await twin.advance(MINUTE_MS)
    assert (await twin.begin(limits=limits)).admitted


async def test_tokens_are_estimated_before_a_call_and_put_right_after_it(twin: Twin) -> None:
    limits = Limits(tokens_per_minute=6_000)
    begin = {"limits": limits, "tokens": 3_000}
    [(asked, admission)] = await twin.opened(**begin)
    assert (await twin.begin(**begin)).refusal is Refusal.RATE
    await twin.end(asked, admission, tokens=(100, 50))
    [(asked, admission)] = await twin.opened(**begin)
    assert admission.admitted
    await twin.end(asked, admission, tokens=(6_000, 3_000))
    refused = await twin.begin(**begin)
    assert refused.refusal is Refusal.RATE
    assert refused.wait_ms > MINUTE_MS


async def test_a_call_refused_by_the_provider_takes_no_tokens(twin: Twin) -> None:
    limits = Limits(tokens_per_minute=6_000)
    await twin.call(Verdict.THROTTLED, retry_after_ms=10, begin={"limits": limits, "tokens": 5_000})
    await twin.advance(20)
    assert (await twin.begin(limits=limits, tokens=5_000)).admitted


async def test_a_refusal_takes_nothing_of_any_limit(twin: Twin) -> None:
    limits = Limits(requests_per_minute=60, tokens_per_minute=60_000, concurrency=1)
    [(asked, admission)] = await twin.opened(limits=limits, tokens=10)
    for _ in range(50):
        assert (await twin.begin(limits=limits, tokens=50_000)).refusal is Refusal.FULL
    await twin.end(asked, admission)
    assert (await twin.begin(limits=limits, tokens=10)).admitted


async def test_what_an_answer_says_is_left_is_not_overdrawn(twin: Twin) -> None:
    rates = Rates(requests_limit=60, requests_left=2, requests_reset_ms=58_000)
    state = await twin.call(rates=rates)
    assert state.requests_per_minute == 60
    assert [(await twin.begin()).refusal for _ in range(4)] == [None, None, Refusal.RATE, Refusal.RATE]
    refused = await twin.begin()
    assert refused.wait_ms <= 1_000  # one a second grows back
    assert in_time(1_000 - refused.wait_ms, 500)
    await twin.advance(1_000)
    assert (await twin.begin()).admitted
    await twin.advance(58_000)
    assert all([(await twin.begin()).admitted for _ in range(30)])  # what was said is no longer true


async def test_tokens_left_are_not_overdrawn_and_a_call_that_needs_more_than_all_waits_for_all(twin: Twin) -> None:
    await twin.call(rates=Rates(tokens_limit=1_000, tokens_left=500, tokens_reset_ms=5_000))
    assert (await twin.begin(tokens=400)).admitted
    assert (await twin.begin(tokens=400)).refusal is Refusal.RATE
    huge = await twin.begin(tokens=50_000)
    assert (huge.refusal, huge.wait_ms <= 5_000) == (Refusal.RATE, True)
    await twin.advance(huge.wait_ms)
    assert (await twin.begin(tokens=50_000)).admitted


@pytest.mark.parametrize(
    "rates",
    [
        Rates(requests_limit=0, requests_left=0, requests_reset_ms=1),
        Rates(requests_limit=10),
        Rates(requests_left=0),
        Rates(requests_limit=10, requests_left=10_000, requests_reset_ms=-5),
    ],
)
async def test_headers_that_say_nothing_of_use_shut_nobody_out(twin: Twin, rates: Rates) -> None:
    await twin.call(rates=rates)
    assert (await twin.begin(tokens=100)).admitted


async def test_a_timeout_lowers_the_calls_in_flight_and_good_answers_raise_them_again(twin: Twin) -> None:
    calls = [(await twin.opened())[0] for _ in range(20)]
    await twin.advance(100)
    state = await twin.end(*calls[0], Verdict.FAILED, outcome="provider_timeout")
    assert state.concurrency_limit == pytest.approx(14)
    assert (await twin.end(*calls[1], Verdict.FAILED, outcome="provider_timeout")).concurrency_limit == pytest.approx(
        14
    )
    full = await twin.begin()
    assert full.refusal is Refusal.FULL
    for each in calls[2:]:
        state = await twin.end(*each)
    assert state.concurrency_limit == pytest.approx(15.2, abs=0.2)  # one more for about as many good answers
    state = await twin.several(500)
    assert state.concurrency_limit is not None
    assert state.concurrency_limit < 40
    assert (await twin.several(300)).concurrency_limit is None  # it has grown past twice the most ever in flight


async def test_the_limit_is_lowered_at_most_once_a_second(twin: Twin) -> None:
    calls = [(await twin.opened())[0] for _ in range(10)]
    limits = []
    for each in calls[:3]:
        await twin.advance(10)
        state = await twin.end(*each, Verdict.THROTTLED, retry_after_ms=1)
        limits.append(state.concurrency_limit)
    assert limits == [5, 5, 5]
    await twin.advance(1_100)
    for each in calls[3:8]:
        await twin.end(*each)
    [(asked, admission)] = await twin.opened()
    await twin.advance(10)
    state = await twin.end(asked, admission, Verdict.THROTTLED)
    assert state.concurrency_limit == pytest.approx(1.5)  # of the three that were in flight
    await twin.advance(2_000)
    for each in calls[8:]:
        await twin.end(*each)


async def test_a_limit_never_falls_below_one_call(twin: Twin) -> None:
    for _ in range(4):
        state = await twin.call(Verdict.THROTTLED, within_ms=1, retry_after_ms=1)
        assert state.concurrency_limit == 1
        await twin.advance(1_500)
    assert (await twin.begin()).admitted
    assert (await twin.begin()).refusal is Refusal.FULL


async def test_the_call_that_tries_passes_a_learnt_limit_of_calls_that_hang(twin: Twin) -> None:
    hanging = [(await twin.opened())[0] for _ in range(8)]
    await twin.advance(50)
    for asked, admission in hanging[:5]:
        state = await twin.end(asked, admission, Verdict.FAILED, outcome="provider_timeout", final=False)
    assert (state.breaker, state.in_flight) == (Breaker.OPEN, 8)
    assert state.concurrency_limit is not None
    await twin.advance(12_001)
    [(asked, permit)] = await twin.opened()
    assert permit.probing
    state = await twin.end(asked, permit)
    assert state.breaker is Breaker.CLOSED
    assert state.concurrency_limit == pytest.approx(5.6, abs=0.5)


async def test_a_full_target_says_about_when_the_next_call_ends(twin: Twin) -> None:
    await twin.call(latency_ms=900)
    limits = Limits(concurrency=3)
    for _ in range(3):
        await twin.begin(limits=limits)
    assert (await twin.begin(limits=limits)).wait_ms == 300


async def test_more_tokens_than_an_hour_allows_hold_up_the_next_calls_for_an_hour(twin: Twin) -> None:
    limits = Limits(tokens_per_minute=1_000)
    assert (await twin.begin(tokens=100_000, limits=limits)).admitted
    refused = await twin.begin(tokens=1, limits=limits)
    assert refused.refusal is Refusal.RATE
    assert 50 * MINUTE_MS < refused.wait_ms <= 60 * MINUTE_MS
    await twin.advance(refused.wait_ms + 1)
    assert (await twin.begin(tokens=1, limits=limits)).admitted


async def test_a_call_that_took_more_tokens_than_an_hour_allows_holds_up_the_next_ones(twin: Twin) -> None:
    limits = Limits(tokens_per_minute=1_000)
    await twin.call(begin={"tokens": 10, "limits": limits}, tokens=(100_000, 1))
    assert (await twin.begin(tokens=1, limits=limits)).refusal is Refusal.RATE
