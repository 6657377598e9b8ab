"""A delivery's way through its candidates, as the table of failures says."""

from __future__ import annotations

import pytest

from infrastructure.core.config_core import Provider
from workers.jobs.models import Attempt
from workers.providers.calls import Target, answered_cost, failed_cost
from workers.providers.classify import Failure, Kind
from workers.providers.failover import DEFAULT_PAUSE_S, LONGEST_PAUSE_S, PATIENCE_S, ROUNDS, Step, Way
from workers.providers.library import Facts
from workers.providers.selection.selector import Choice

LATER = [Kind.AUTHENTICATION, Kind.QUOTA, Kind.PERMISSION, Kind.MODEL_UNAVAILABLE, Kind.RATE_LIMITED, Kind.TIMEOUT,
         Kind.UNAVAILABLE, Kind.UNSUPPORTED_PARAMETER, Kind.BAD_ANSWER]  # fmt: skip
NOW = 1_000.0


class Tried:
    """A way through as many candidates as there are context windows, asked one after the other at one moment."""

    def __init__(self, *windows: int | None, earlier: tuple[Attempt, ...] = (), next_on_policy: bool = False) -> None:
        self.choices = [
            Choice(Target(str(place), "m", Provider(), Facts(window=window)), 0.0)
            for place, window in enumerate(windows)
        ]
        self.way = Way(self.choices, earlier=earlier, next_on_policy=next_on_policy)

    def next(self) -> int | None:
        """Return the place of the candidate to ask at once."""
        step = self.way.next(NOW)
        return None if step is None else self.choices.index(step.choice)

    def fail(
        self,
        place: int,
        kind: Kind,
        *,
        retry_after_s: float | None = None,
        probing: bool = False,
        next_probe_s: float | None = None,
    ) -> None:
        """Have a candidate fail."""
        failure = Failure(kind=kind, status=None, retry_after_s=retry_after_s, text="", error_type="X")
        self.way.failed(self.choices[place], failure, now=NOW, probing=probing, next_probe_s=next_probe_s)

    def wait_s(self) -> float | None:
        """Return for how long the job would be put back."""
        return self.way.put_back_s(NOW)


def failed(kind: Kind, *, breaker: str = "closed", times: int = 1) -> tuple[Attempt, ...]:
    """Return attempts of earlier deliveries."""
    return times * (
        Attempt(provider="p", model="m", outcome=kind, status=None, latency_ms=1, cost_usd=None, breaker=breaker),
    )


@pytest.mark.parametrize("kind", LATER)
def test_the_next_candidate_follows_at_once(kind: Kind) -> None:
    tried = Tried(None, None)
    assert tried.next() == 0
    tried.fail(0, kind, retry_after_s=60)
    assert tried.way.next(NOW) == Step(tried.choices[1], 0)


@pytest.mark.parametrize("kind", [Kind.INVALID_REQUEST, Kind.CONTENT_POLICY])
def test_the_callers_own_fault_ends_it(kind: Kind) -> None:
    tried = Tried(None, None)
    tried.next()
    tried.fail(0, kind)
    assert (tried.next(), tried.wait_s()) == (None, None)


def test_refused_content_goes_on_where_the_configuration_says_so() -> None:
    tried = Tried(None, None, next_on_policy=True)
    tried.next()
    tried.fail(0, Kind.CONTENT_POLICY)
    assert tried.next() == 1


def test_only_an_unavailable_last_candidate_is_asked_once_more() -> None:
    for kind in LATER:
        tried = Tried(None)
        tried.next()
        tried.fail(0, kind, retry_after_s=100)
        assert tried.next() == (0 if kind is Kind.UNAVAILABLE else None)


def test_at_most_one_attempt_more_than_there_are_candidates_is_made() -> None:
    tried = Tried(None, None, None)
    places = []
    while (place := tried.next()) is not None:
        places.append(place)
        tried.fail(place, Kind.UNAVAILABLE)
    assert places == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("retry_after_s", "pause_s", "put_back_s"),
    [(0.0, 0, DEFAULT_PAUSE_S), (0.7, 0.7, 0.7), (None, DEFAULT_PAUSE_S, DEFAULT_PAUSE_S), (7.0, None, 7), (3_600, None, 3_600)],
)  # fmt: skip
def test_a_throttled_last_candidate_is_waited_for_a_moment_and_longer_out_of_the_way(
    retry_after_s: float | None, pause_s: float | None, put_back_s: float
) -> None:
    tried = Tried(None)
    tried.next()
    tried.fail(0, Kind.RATE_LIMITED, retry_after_s=retry_after_s)
    assert tried.wait_s() == pytest.approx(put_back_s)
    step = tried.way.next(NOW)
    assert (step and step.pause_s) == (pause_s if pause_s is None else pytest.approx(pause_s))


def test_a_refused_candidate_is_asked_after_its_wait_and_all_waits_together_are_bounded() -> None:
    tried = Tried(None, None)
    for place in (0, 1):
        assert tried.next() == place
        tried.way.refused(tried.choices[place], at=NOW + 0.6 + place)
    first = tried.way.next(NOW)
    assert first is not None
    assert first.choice == tried.choices[0]
    assert first.pause_s == pytest.approx(0.6)
    tried.way.refused(tried.choices[0], at=NOW + 1.2)
    assert PATIENCE_S < 1.2
    assert tried.way.next(NOW + 0.6) is None
    assert tried.way.put_back_s(NOW + 0.6) == pytest.approx(0.6)


def test_refusals_without_a_wait_do_not_make_a_busy_loop() -> None:
    tried = Tried(None)
    asked = 0
    while tried.next() is not None:
        asked += 1
        tried.way.refused(tried.choices[0], at=NOW)
    assert asked <= 30


def test_all_candidates_cooling_down_means_a_wait_for_the_first() -> None:
    tried = Tried(None, None)
    for place in (0, 1):
        tried.next()
        tried.way.refused(tried.choices[place], at=NOW + 9 - place)
    assert (tried.next(), tried.wait_s()) == (None, 8)


def test_a_candidate_that_fell_silent_or_refused_us_is_not_waited_for() -> None:
    for kind in (Kind.TIMEOUT, Kind.AUTHENTICATION, Kind.MODEL_UNAVAILABLE, Kind.UNSUPPORTED_PARAMETER):
        tried = Tried(None)
        tried.next()
        tried.fail(0, kind)
        assert (tried.next(), tried.wait_s()) == (None, None)


def test_an_unavailable_one_is_waited_for_until_its_probe_and_else_longer_each_time() -> None:
    tried = Tried(None)
    for _ in range(2):
        tried.next()
        tried.fail(0, Kind.UNAVAILABLE, next_probe_s=9)
    assert tried.wait_s() == 9
    waits = []
    for rounds in range(ROUNDS + 1):
        tried = Tried(None, earlier=failed(Kind.UNAVAILABLE, times=2 * rounds))
        for _ in range(2):
            tried.next()
            tried.fail(0, Kind.UNAVAILABLE)
        waits.append(tried.wait_s())
    assert waits == [*(min(DEFAULT_PAUSE_S * 2**number, LONGEST_PAUSE_S) for number in range(ROUNDS)), None]


def test_the_probe_of_a_dead_provider_says_nothing_of_the_job_that_made_it() -> None:
    earlier = failed(Kind.UNAVAILABLE, breaker="half_open", times=1_000)
    tried = Tried(None, earlier=earlier)
    for _ in range(2):
        tried.next()
        tried.fail(0, Kind.UNAVAILABLE)
    assert tried.wait_s() == DEFAULT_PAUSE_S
    for kind in (Kind.AUTHENTICATION, Kind.QUOTA):
        tried = Tried(None)
        tried.next()
        tried.fail(0, kind, probing=True, next_probe_s=20)
        assert (tried.next(), tried.wait_s()) == (None, 20)


def test_a_prompt_that_is_too_long_goes_only_to_a_larger_window() -> None:
    for windows, follows in (((8_000, 8_000, None, 16_000), 3), ((8_000, 4_000), None), ((None, 16_000), None)):
        tried = Tried(*windows)
        tried.next()
        tried.fail(0, Kind.CONTEXT_WINDOW)
        assert tried.next() == follows


def test_a_larger_window_that_cools_down_is_waited_for() -> None:
    tried = Tried(16_000, 4_000, 8_000)
    tried.next()
    tried.way.refused(tried.choices[0], at=NOW + 5)
    tried.next()
    tried.way.refused(tried.choices[1], at=NOW + 3)
    tried.next()
    tried.fail(2, Kind.CONTEXT_WINDOW)
    assert (tried.next(), tried.wait_s()) == (None, 5)


def test_a_second_bad_answer_ends_it_also_in_a_later_delivery() -> None:
    tried = Tried(None, None, None)
    for place in (0, 1):
        assert tried.next() == place
        tried.fail(place, Kind.BAD_ANSWER)
    assert tried.next() is None
    tried = Tried(None, None, earlier=failed(Kind.BAD_ANSWER))
    tried.next()
    tried.fail(0, Kind.BAD_ANSWER)
    assert (tried.next(), tried.wait_s()) == (None, None)


def booked(*costs: float | None) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(provider="p", model="m", outcome="x", status=None, latency_ms=1, cost_usd=cost) for cost in costs
    )


def test_an_answers_cost_is_all_that_is_known_unless_its_own_is_not() -> None:
    assert answered_cost(booked(0.0, None, 0.5)) == 0.5
    assert answered_cost(booked(0.25, 0.5)) == 0.75
    assert answered_cost(booked(0.25, None)) is None
    assert answered_cost(booked(None, 0.0)) is None  # a free answer after a call that may have been billed
    assert answered_cost(booked(0.0, 0.0)) == 0


def test_a_failures_cost_is_unknown_when_nothing_is_known() -> None:
    assert failed_cost(booked(0.0, 0.0)) == 0
    assert failed_cost(booked(0.0, None)) is None
    assert failed_cost(booked(0.5, None)) == 0.5
    assert failed_cost(()) == 0
