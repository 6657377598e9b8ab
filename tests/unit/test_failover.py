"""Which candidate follows a failure, as the table of failures says."""

from __future__ import annotations

import pytest

from infrastructure.core.config_core import Provider, ProviderKind
from workers.jobs.models import Attempt
from workers.providers.calls import Target, answered_cost, failed_cost
from workers.providers.classify import Failure, Kind
from workers.providers.failover import DEFAULT_PAUSE_S, MAX_PAUSE_S, Failover, Step
from workers.providers.library import Endpoint

LATER = [Kind.AUTHENTICATION, Kind.QUOTA, Kind.PERMISSION, Kind.MODEL_UNAVAILABLE, Kind.RATE_LIMITED, Kind.TIMEOUT,
         Kind.UNAVAILABLE, Kind.UNSUPPORTED_PARAMETER, Kind.BAD_ANSWER]  # fmt: skip


def failed(kind: Kind, *, retry_after_s: float | None = None) -> Failure:
    return Failure(kind=kind, status=None, retry_after_s=retry_after_s, text="", error_type="X")


def way(*windows: int | None) -> Failover:
    """Return a way through as many candidates as there are context windows."""
    endpoint = Endpoint(kind=ProviderKind.OPENAI, model="m", api_key="", base_url="", http=None)
    targets = [Target(str(place), "m", Provider(), endpoint) for place in range(len(windows))]
    return Failover(targets, window=lambda target: windows[int(target.name)])


@pytest.mark.parametrize("kind", LATER)
def test_the_next_candidate_follows_at_once(kind: Kind) -> None:
    assert way(None, None).after(failed(kind, retry_after_s=60), index=0, remaining_s=9) == Step(1)


@pytest.mark.parametrize("kind", [Kind.INVALID_REQUEST, Kind.CONTENT_POLICY])
def test_the_callers_own_fault_ends_it(kind: Kind) -> None:
    assert way(None, None).after(failed(kind), index=0, remaining_s=9) is None


def test_only_an_unavailable_last_candidate_is_asked_once_more() -> None:
    for kind in LATER:
        step = way(None).after(failed(kind, retry_after_s=100), index=0, remaining_s=999)
        assert step == (Step(0) if kind is Kind.UNAVAILABLE else None)


def test_the_last_candidate_is_repeated_once_whatever_the_failures() -> None:
    failover = way(None, None)
    assert failover.after(failed(Kind.UNAVAILABLE), index=0, remaining_s=9) == Step(1)
    assert failover.after(failed(Kind.RATE_LIMITED, retry_after_s=0), index=1, remaining_s=9) == Step(1)
    assert failover.after(failed(Kind.UNAVAILABLE), index=1, remaining_s=9) is None


@pytest.mark.parametrize(
    ("retry_after_s", "remaining_s", "step"),
    [(0.0, 9, Step(0)), (7.0, 9, Step(0, 7)), (7.0, 7, None), (None, 9, Step(0, DEFAULT_PAUSE_S)),
     (MAX_PAUSE_S, 99, Step(0, MAX_PAUSE_S)), (MAX_PAUSE_S + 1, 99, None)],
)  # fmt: skip
def test_a_throttled_last_candidate_is_waited_for_when_it_fits(
    retry_after_s: float | None, remaining_s: float, step: Step | None
) -> None:
    found = way(None).after(failed(Kind.RATE_LIMITED, retry_after_s=retry_after_s), index=0, remaining_s=remaining_s)
    assert found == step


def test_a_prompt_that_is_too_long_goes_only_to_a_larger_window() -> None:
    too_long = failed(Kind.CONTEXT_WINDOW)
    assert way(8_000, 8_000, None, 16_000).after(too_long, index=0, remaining_s=9) == Step(3)
    assert way(8_000, 4_000).after(too_long, index=0, remaining_s=9) is None
    assert way(None, 16_000).after(too_long, index=0, remaining_s=9) is None


def test_a_second_bad_answer_ends_it() -> None:
    failover = way(None, None, None)
    assert failover.after(failed(Kind.BAD_ANSWER), index=0, remaining_s=9) == Step(1)
    assert failover.after(failed(Kind.BAD_ANSWER), index=1, remaining_s=9) is None


def test_nothing_follows_after_the_deadline() -> None:
    assert way(None, None).after(failed(Kind.UNAVAILABLE), index=0, remaining_s=0) is None


def booked(*costs: float | None) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(provider="p", model="m", outcome="x", status=None, latency_ms=1, cost_usd=cost) for cost in costs
    )


def test_an_answers_cost_is_all_that_is_known_unless_its_own_is_not() -> None:
    assert answered_cost(booked(0.0, None, 0.5)) == 0.5
    assert answered_cost(booked(0.25, 0.5)) == 0.75
    assert answered_cost(booked(0.25, None)) is None


def test_a_failures_cost_is_unknown_when_nothing_is_known() -> None:
    assert failed_cost(booked(0.0, 0.0)) == 0
    assert failed_cost(booked(0.0, None)) is None
    assert failed_cost(booked(0.5, None)) == 0.5
    assert failed_cost(()) == 0
