"""What the error handler is given wrongly, or must not pass on."""

from __future__ import annotations

import pytest

from infrastructure.core.error_core import ErrorHandler, ids_only
from infrastructure.core.error_core.classification import place
from tests.support.planted import PLANTS, found_in


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_secret_or_prompt_under_an_allowed_name_is_left_out(plant: str) -> None:
    kept = ids_only({"tenant": plant, "model": plant, "request_id": f"req_1:{plant}", "job_id": "job_1", "attempt": 2})
    assert not found_in(str(kept))
    assert {"job_id": "job_1", "attempt": 2}.items() <= kept.items()


@pytest.mark.parametrize(("count", "window_s"), [(0, 60), (-1, 60), (10_001, 60), (5, 0), (5, -1), (5, float("nan"))])
def test_a_threshold_that_could_never_or_always_be_passed_is_refused_and_the_old_one_holds(
    count: int, window_s: float
) -> None:
    handler = ErrorHandler("threshold")
    with pytest.raises(ValueError, match="expected a count"):
        handler.alert_above(count, window_s=window_s)
    handler.handle(ValueError("said"))
    assert handler.get_metrics()["total"] == 1


def test_the_place_of_an_error_from_deep_inside_is_where_it_was_raised() -> None:
    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
        else:
            innermost()

    def innermost() -> None:
        raise ValueError("said")

    with pytest.raises(ValueError, match="said") as caught:
        deeper(100)
    assert place(caught.value).endswith("in innermost")
