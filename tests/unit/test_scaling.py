"""How many workers there should be, by table and by simulation."""

from __future__ import annotations

import pytest

from infrastructure.optional.container_core import Bounds, Figures, Scaler, recommended

BOUNDS = Bounds(
    minimum=1, maximum=8, target_age_s=2, depth=100, grow_after_s=3, shrink_after_s=60, cooldown_s=10
)  # fmt: skip
CALM = Figures(ready=0)
BUSY = Figures(ready=1_000, oldest_age_s=30, running=50, slots=100)


@pytest.mark.parametrize(
    ("current", "figures", "wanted"),
    [
        (1, CALM, 1),
        (4, CALM, 1),
        (0, CALM, 1),
        (1, Figures(ready=100), 1),
        (1, Figures(ready=101), 2),
        (1, Figures(ready=350), 4),
        (1, Figures(ready=100_000), 8),
        (2, Figures(ready=5, oldest_age_s=2), 2),
        (2, Figures(ready=5, oldest_age_s=3), 3),
        (2, Figures(ready=5, oldest_age_s=2_000), 8),
        (2, Figures(ready=0, oldest_age_s=2_000), 1),
        # Between "more are needed" and "fewer are enough for twice as much" nothing changes.
        (2, Figures(ready=60), 2),
        (2, Figures(ready=49), 1),
        (3, Figures(ready=5, oldest_age_s=0.9), 3),
        (3, Figures(ready=5, oldest_age_s=0.6), 2),
        # Jobs that run have a place somewhere, and as much room again is left when one worker goes.
        (2, Figures(ready=0, running=60, slots=100), 2),
        (2, Figures(ready=0, running=50, slots=100), 1),
        (1, Figures(ready=0, running=100, slots=100), 1),
    ],
)
def test_recommended_by_table(current: int, figures: Figures, wanted: int) -> None:
    assert recommended(current, figures, BOUNDS) == wanted


def run(figures: list[tuple[int, Figures]], *, bounds: Bounds = BOUNDS, current: int = 1) -> list[tuple[int, int]]:
    """Look once a second at figures that hold for some seconds each; return (second, workers) at each change."""
    scaler, changes, now = Scaler(bounds), [], 0
    for seconds, seen in figures:
        for _ in range(seconds):
            decided = scaler.decide(current, seen, now_s=now)
            if decided != current:
                changes.append((now, decided))
                current = decided
            now += 1
    return changes


def test_growth_waits_until_it_was_asked_for_long_enough_then_doubles_with_pauses_to_the_maximum() -> None:
    assert run([(60, BUSY)]) == [(3, 2), (13, 4), (23, 8)]


def test_a_moment_of_much_work_changes_nothing() -> None:
    assert run([(2, BUSY), (2, CALM)] * 20) == []


def test_shrinking_is_slow_and_goes_down_one_by_one_to_the_minimum() -> None:
    assert run([(300, CALM)], current=4) == [(60, 3), (121, 2), (182, 1)]


def test_work_that_comes_and_goes_within_the_shrinking_time_keeps_its_workers() -> None:
    changes = run([(20, BUSY), (50, CALM)] * 10)
    assert [workers for _, workers in changes] == sorted(workers for _, workers in changes)


def test_minimum_and_maximum_are_kept_at_once_when_they_change() -> None:
    assert Scaler(BOUNDS).decide(9, CALM, now_s=0) == 8
    assert Scaler(BOUNDS).decide(0, CALM, now_s=0) == 1


def test_equal_bounds_mean_no_scaling() -> None:
    fixed = Bounds(minimum=3, maximum=3, target_age_s=2, depth=100, grow_after_s=0, shrink_after_s=0, cooldown_s=0)
    assert run([(10, BUSY), (10, CALM)], bounds=fixed, current=3) == []
