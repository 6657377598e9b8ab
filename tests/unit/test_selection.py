"""The order of candidates: tiers, the draw of two, exploration, those that cool down; and what a better figure changes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from infrastructure.core.config_core import Provider
from infrastructure.core.config_core.sections import Selection
from infrastructure.core.config_core.settings import Price
from workers.jobs.gate.local_gate import LocalGate
from workers.jobs.gate.models import Breaker, TargetState
from workers.jobs.gate.score import expected_cost
from workers.providers.calls import Target
from workers.providers.estimate import Size, likely_usd
from workers.providers.library import UNKNOWN
from workers.providers.selection.draw import first, shares
from workers.providers.selection.selector import Selector
from workers.providers.selection.standings import Standings

SIZE = Size(chars=2_000, pictures=0, choices=1, most_tokens=None)
SELECTION = Selection()
DRAWS = 100_000


class World:
    """Candidates in tiers, what is known of each, a clock that is set by hand, and draws that can be told."""

    def __init__(self, *, seed: int = 1) -> None:
        self.now = 100.0
        self.standings = Standings(LocalGate(), clock=lambda: self.now)
        self.selector = Selector(self.standings, random=random.Random(seed).random)
        self.targets: list[Target] = []

    def add(self, name: str, *, tier: int = 1, price: float = 1.0, **state: Any) -> None:
        """Add a candidate; those of a lower tier number first."""
        provider = Provider(priority=tier, prices={"m": Price(input=price, output=price)})
        self.targets.append(Target(name, "m", provider, UNKNOWN))
        self.learn(name, **{"latency_ms": 500.0, **state})

    def learn(self, name: str, **state: Any) -> None:
        """Have the gate tell how a candidate stands."""
        self.standings.learn(TargetState(provider=name, model="m", **state))

    def order(self, **selection: Any) -> list[str]:
        """Return the names of the candidates in order."""
        chosen = Selection(**selection) if selection else SELECTION
        return [one.target.name for one in self.selector.order(self.targets, SIZE, chosen)]


def test_a_hundred_thousand_draws_are_within_two_points_of_the_expected_share() -> None:
    for count in (2, 3, 5, 9):
        scores = [float(place) for place in range(count)]
        generator = random.Random(count)
        drawn = Counter(first(scores, exploration=0.015, random=generator.random)[0] for _ in range(DRAWS))
        for place, share in enumerate(shares(scores, exploration=0.015)):
            assert abs(drawn[place] / DRAWS - share) < 0.02


def test_the_share_of_exploration_is_what_is_configured() -> None:
    generator = random.Random(7)
    explored = sum(first([1.0, 2.0, 3.0], exploration=0.015, random=generator.random)[1] for _ in range(DRAWS))
    assert 0.01 < explored / DRAWS < 0.02
    assert not any(first([1.0, 2.0], exploration=0.0, random=generator.random)[1] for _ in range(1_000))


def test_shares_add_up_and_equals_share_equally() -> None:
    assert sum(shares([3.0, 1.0, 2.0, 1.0], exploration=0.1)) == pytest.approx(1)
    assert shares([1.0, 1.0, 1.0], exploration=0.1) == pytest.approx([1 / 3] * 3)
    assert shares([1.0], exploration=0.1) == [1.0]
    generator = random.Random(3)
    drawn = Counter(first([1.0, 1.0], exploration=0, random=generator.random)[0] for _ in range(10_000))
    assert abs(drawn[0] / 10_000 - 0.5) < 0.02


def cases(count: int) -> Iterator[tuple[list[tuple[TargetState, float, int]], int, int]]:
    """Give sets of candidates, which of them gets better, and in which of its inputs."""
    draw = random.Random(42)
    for _ in range(count):
        among = [
            (
                TargetState(
                    provider=str(place),
                    model="m",
                    success=draw.choice([1.0, draw.random()]),
                    throttle=draw.choice([0.0, draw.random()]),
                    latency_ms=draw.choice([None, draw.uniform(1, 60_000)]),
                    in_flight=draw.randrange(500),
                    concurrency_limit=draw.choice([None, draw.uniform(1, 500)]),
                ),
                draw.uniform(0, 0.1),
                draw.randrange(100),
            )
            for place in range(draw.randrange(2, 6))
        ]
        yield among, draw.randrange(len(among)), draw.randrange(5)


def improved(state: TargetState, price: float, own: int, *, which: int) -> tuple[TargetState, float, int]:
    """Return a candidate with one input better."""
    match which:
        case 0:
            return replace(state, success=min(1.0, state.success + 0.1)), price, own
        case 1:
            return replace(state, throttle=state.throttle / 2), price, own
        case 2:
            faster = None if state.latency_ms is None else state.latency_ms / 2
            return replace(state, latency_ms=faster), price, own
        case 3:
            return replace(state, in_flight=state.in_flight // 2), price, own // 2
        case _:
            return state, price / 2, own


def share_of(among: list[tuple[TargetState, float, int]], place: int) -> float:
    """Return how often a candidate is asked first."""
    scores = [
        expected_cost(state, price_usd=price, own_in_flight=own, usd_per_second=0.0005).value
        for state, price, own in among
    ]
    return shares(scores, exploration=0.015)[place]


def test_better_in_one_input_never_lowers_the_share_in_ten_thousand_cases() -> None:
    rose = 0
    for among, place, which in cases(10_000):
        before = share_of(among, place)
        better = [*among[:place], improved(*among[place], which=which), *among[place + 1 :]]
        after = share_of(better, place)
        assert after >= before - 1e-12, (among, place, which)
        rose += after > before
    assert rose > 500


def test_a_lower_tier_is_asked_only_after_all_of_a_higher_one() -> None:
    world = World()
    world.add("dear", tier=1, price=900.0, success=0.5)
    world.add("slow", tier=1, latency_ms=9_000.0)
    world.add("best", tier=2, price=0.01)
    for _ in range(200):
        assert world.order()[2] == "best"


def test_the_cheaper_the_faster_and_the_sounder_of_two_is_asked_first() -> None:
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"price": 1.0}, {"price": 9.0}),
        ({"latency_ms": 100.0}, {"latency_ms": 3_000.0}),
        ({"success": 1.0}, {"success": 0.7}),
        ({"throttle": 0.0}, {"throttle": 0.5}),
    ]
    for better, worse in pairs:
        world = World()
        world.add("worse", **worse)
        world.add("better", **better)
        assert world.order(exploration=0.0) == ["better", "worse"]


def test_what_cools_down_or_is_being_tried_comes_behind_all_tiers() -> None:
    world = World()
    world.add("open", breaker=Breaker.OPEN, next_probe_ms=5_000)
    world.add("throttled", throttled_ms=5_000)
    world.add("tried", account=Breaker.HALF_OPEN)
    world.add("well", tier=2)
    assert world.order()[0] == "well"
    world.now += 4
    assert world.order()[0] == "well"


def test_one_whose_turn_it_is_to_be_tried_again_comes_first_in_its_tier() -> None:
    world = World()
    world.add("well")
    world.add("due", breaker=Breaker.OPEN, next_probe_ms=3_000, success=0.1)
    assert world.order(exploration=0.0) == ["well", "due"]
    world.now += 3.1
    assert world.order(exploration=0.0) == ["due", "well"]
    world.learn("due", breaker=Breaker.HALF_OPEN)  # another process was first
    assert world.order(exploration=0.0) == ["well", "due"]


def test_calls_of_this_process_under_way_count_at_once() -> None:
    world = World()
    world.add("one")
    world.add("two")
    for _ in range(50):
        world.standings.began(("one", "m"))
    assert world.order(exploration=0.0) == ["two", "one"]
    for _ in range(50):
        world.standings.ended(("one", "m"))
    assert world.standings.own(("one", "m")) == 0


def test_an_unknown_price_is_not_free() -> None:
    unpriced = Target("p", "m", Provider(), UNKNOWN)
    assert likely_usd(unpriced, SIZE.prompt_tokens, SIZE.answer_tokens) is None
    state = TargetState(provider="p", model="m")
    unknown, free = (expected_cost(state, price_usd=price, usd_per_second=0.0005).value for price in (None, 0.0))
    assert unknown > free


def test_a_request_that_a_hang_would_leave_no_time_does_not_try_a_candidate_that_was_down() -> None:
    world = World()
    world.add("due", breaker=Breaker.OPEN, next_probe_ms=0)
    world.add("well", tier=2)
    world.add("shut", tier=1, breaker=Breaker.OPEN, next_probe_ms=60_000)
    timeout_s = world.targets[0].provider.timeout_s
    targets = sorted(world.targets, key=lambda one: one.provider.priority)
    hurried = world.selector.order(targets, SIZE, SELECTION, left_s=1.9 * timeout_s)
    assert [one.target.name for one in hurried] == ["well", "due", "shut"]
    patient = world.selector.order(targets, SIZE, SELECTION, left_s=2 * timeout_s)
    assert [one.target.name for one in patient] == ["due", "well", "shut"]
    alone = world.selector.order(targets[:1], SIZE, SELECTION, left_s=0.1)
    assert [one.target.name for one in alone] == ["due"]
