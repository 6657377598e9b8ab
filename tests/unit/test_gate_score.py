"""The score: what one good answer of a candidate is expected to cost."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.jobs.gate.models import TargetState
from workers.jobs.gate.score import PRIOR_LATENCY_MS, PRIOR_PRICE_USD, expected_cost

USD_PER_SECOND = 0.0005
shares = st.floats(0, 1)
states = st.builds(
    TargetState,
    provider=st.just("alpha"),
    model=st.just("m"),
    success=shares,
    throttle=shares,
    latency_ms=st.none() | st.floats(0, 600_000),
    in_flight=st.integers(0, 5_000),
    concurrency_limit=st.none() | st.floats(1, 5_000),
)
prices = st.none() | st.floats(0, 10)
worths = st.floats(0, 1)


def score(state: TargetState, *, price_usd: float | None = 0.001, **others: Any) -> float:
    return expected_cost(state, price_usd=price_usd, **{"usd_per_second": USD_PER_SECOND, **others}).value


@settings(max_examples=200, deadline=None)
@given(states, prices, worths, st.integers(0, 5_000), st.data())
def test_better_in_one_input_never_makes_it_worse(
    state: TargetState, price: float | None, worth: float, own: int, data: st.DataObject
) -> None:
    before = score(state, price_usd=price, own_in_flight=own, usd_per_second=worth)
    better: dict[str, st.SearchStrategy[Any]] = {
        "success": st.floats(state.success, 1),
        "throttle": st.floats(0, state.throttle),
        "latency_ms": st.floats(0, PRIOR_LATENCY_MS if state.latency_ms is None else state.latency_ms),
        "in_flight": st.integers(0, state.in_flight),
        "concurrency_limit": st.floats(state.concurrency_limit or 1_000, 10_000),
    }
    for name, values in better.items():
        change: dict[str, Any] = {name: data.draw(values, label=name)}
        improved = replace(state, **change)
        assert score(improved, price_usd=price, own_in_flight=own, usd_per_second=worth) <= before
    cheaper = data.draw(st.floats(0, PRIOR_PRICE_USD if price is None else price))
    assert score(state, price_usd=cheaper, own_in_flight=own, usd_per_second=worth) <= before
    assert score(state, price_usd=price, own_in_flight=data.draw(st.integers(0, own)), usd_per_second=worth) <= before


def test_in_ten_thousand_random_cases_better_never_makes_it_worse() -> None:
    dice = random.Random(4)
    for _ in range(10_000):
        state = TargetState(
            provider="alpha", model="m", success=dice.random(), throttle=dice.random(),
            latency_ms=dice.choice([None, 10 ** dice.uniform(0, 6)]), in_flight=dice.randrange(2_000),
            concurrency_limit=dice.choice([None, 10 ** dice.uniform(0, 4)]),
        )  # fmt: skip
        price, factor = 10 ** dice.uniform(-6, 0), dice.random()
        changes: list[tuple[dict[str, Any], float]] = [
            ({"success": state.success + (1 - state.success) * factor}, price),
            ({"throttle": state.throttle * factor}, price),
            ({"latency_ms": (state.latency_ms or PRIOR_LATENCY_MS) * factor}, price),
            ({"in_flight": int(state.in_flight * factor)}, price),
            ({"concurrency_limit": (state.concurrency_limit or 1_000) * (1 + factor)}, price),
            ({}, price * factor),
        ]
        better, cheaper = dice.choice(changes)
        assert score(replace(state, **better), price_usd=cheaper) <= score(state, price_usd=price)


def test_a_score_is_the_price_and_the_wait_of_as_many_calls_as_a_good_answer_takes() -> None:
    state = TargetState(
        provider="alpha", model="m", success=0.5, throttle=0.25, latency_ms=2_000, in_flight=10, concurrency_limit=20
    )
    value, parts = expected_cost(state, price_usd=0.003, usd_per_second=0.001)
    assert parts == pytest.approx((0.003, 0.003, 0.25, 0.5))
    assert value == pytest.approx((0.003 + 0.003) * 1.25 / 0.5)


def test_what_is_not_known_has_a_stated_prior() -> None:
    unknown = TargetState(provider="alpha", model="m")
    known = replace(unknown, latency_ms=PRIOR_LATENCY_MS)
    assert score(unknown, price_usd=None) == score(known, price_usd=PRIOR_PRICE_USD)


def test_a_candidate_that_never_answers_well_has_a_finite_score() -> None:
    assert score(TargetState(provider="alpha", model="m", success=0)) < 1


def test_calls_in_flight_are_the_fleet_s_or_this_process_s_whichever_are_more() -> None:
    state = TargetState(provider="alpha", model="m", in_flight=50, latency_ms=1_000)
    assert score(state, own_in_flight=10) == score(state)
    assert score(state, own_in_flight=90) == score(replace(state, in_flight=90))


def test_errors_and_slowness_outweigh_a_lower_price() -> None:
    good = TargetState(provider="alpha", model="m", latency_ms=1_000)
    bad = TargetState(provider="beta", model="m", latency_ms=10_000, success=0.7)
    assert score(good, price_usd=0.002) < score(bad, price_usd=0.001)
