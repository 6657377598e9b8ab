"""The retry budget: what a retry takes, what a good answer gives back, and one provider's trouble beside another's."""

from __future__ import annotations

from infrastructure.core.config_core.sections import Retries
from workers.providers.budget import RetryBudget


def test_retries_end_when_the_budget_is_empty_and_throttled_ones_are_cheaper() -> None:
    for throttled, allowed in ((False, 35), (True, 100)):
        budget = RetryBudget(Retries())
        taken = [budget.take("p", throttled=throttled) for _ in range(150)]
        assert sum(one is not None for one in taken) == allowed


def test_a_good_answer_gives_back_what_its_retry_took_and_a_first_one_gives_a_token() -> None:
    budget = RetryBudget(Retries())
    taken = budget.take("p", throttled=False)
    assert (taken, budget.left("p"), budget.left()) == (14, 486, 486)
    budget.succeeded("p", taken=14)
    assert (budget.left("p"), budget.left()) == (500, 500)
    budget.take("p", throttled=True)
    budget.succeeded("p", taken=0)
    assert budget.left("p") == 496
    for _ in range(100):
        budget.succeeded("p", taken=14)
    assert (budget.left("p"), budget.left()) == (500, 500)


def test_a_providers_own_budget_and_the_one_over_all_both_have_to_hold() -> None:
    budget = RetryBudget(Retries(tokens=28, cost=14))
    assert [budget.take("p", throttled=False) for _ in range(3)] == [14, 14, None]
    assert budget.take("q", throttled=False) is None
    budget.succeeded("q", taken=14)
    assert (budget.left("p"), budget.left("q"), budget.left()) == (0, 28, 14)
    assert budget.take("p", throttled=False) is None
    assert budget.take("q", throttled=False) == 14


def test_new_settings_hold_from_the_next_retry_on() -> None:
    budget = RetryBudget(Retries())
    budget.follow(Retries(cost=500))
    assert [budget.take("p", throttled=False) for _ in range(2)] == [500, None]
