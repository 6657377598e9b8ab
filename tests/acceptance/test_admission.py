"""The full queue in small: overload, a noisy tenant and cancels on one real fleet; `make chaos` has them at full size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos import admission, cancels
from tests.chaos.rows import Row
from tests.support.steady import warm_up
from tests.support.wall import Wall

SCALE = 0.03
CAPACITY = 5
CLOCKED = {"overload: p99 of refusals", "overload: goodput, of the peak", "cancels: slowest to an end"}
"""Judged at full size only: here other tests may have the processors."""


@pytest.fixture(scope="module")
def wall() -> Iterator[Wall]:
    settings = {"limits": admission.LIMITS, "models": cancels.MODELS | {admission.SLOW: admission.CANDIDATES}}
    with Wall(providers=[*cancels.PROVIDERS, *admission.PROVIDERS], settings=settings) as wall:
        wall.profile(cancels.DOWN, port="closed")
        wall.start(workers=1, AI_PROVIDER_WORKER_CONCURRENCY=str(CAPACITY))
        warm_up(wall.url, jobs=20)
        yield wall


def broken(rows: list[Row]) -> list[Row]:
    return [row for row in rows if not row.ok and row.what not in CLOCKED]


def test_no_cancel_leads_to_two_ends_or_leaves_a_call_behind(wall: Wall) -> None:
    assert broken(cancels.cancel_many(wall, 40)) == []


@pytest.mark.timeout(180)
def test_ten_times_too_much_takes_nothing_from_what_can_be_done(wall: Wall) -> None:
    assert broken(admission.overload_of(wall, SCALE, capacity=CAPACITY)) == []


def test_a_tenant_with_a_long_line_does_not_hold_up_another(wall: Wall) -> None:
    assert broken(admission.noise_on(wall, SCALE, jobs=60, rate=1)) == []
