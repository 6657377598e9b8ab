"""Prices: the configuration's first, then the table's, else unknown; a job never fails for a price."""

from __future__ import annotations

from typing import Any

import pytest

from infrastructure.core.config_core import ProviderKind
from infrastructure.core.config_core.settings import Price
from workers.providers.library import Endpoint
from workers.providers.pricing import cost_usd

ENDPOINT = Endpoint(kind=ProviderKind.OPENAI, model="m", api_key="", base_url="", http=None)
USAGE = {"prompt_tokens": 1_000_000, "completion_tokens": 500_000, "total_tokens": 1_500_000}


class Table:
    """A price table that says one thing."""

    def __init__(self, said: float | Exception) -> None:
        self._said = said

    def table_cost(self, *_: Any, **__: Any) -> float:
        if isinstance(self._said, Exception):
            raise self._said
        return self._said


class Raw:
    usage = object()


def cost(said: float | Exception, *, usage: dict[str, int] | None = USAGE, price: Price | None = None) -> float | None:
    return cost_usd(usage, price=price, library=Table(said), endpoint=ENDPOINT, answer=Raw())  # type: ignore[arg-type]


def test_a_configured_price_comes_before_the_table() -> None:
    assert cost(9.0, price=Price(input=2, output=8)) == 6.0


def test_a_configured_price_of_nothing_costs_nothing() -> None:
    assert cost(9.0, price=Price(input=0, output=0)) == 0


def test_the_table_prices_what_the_configuration_does_not() -> None:
    assert cost(9.0) == 9.0


@pytest.mark.parametrize("said", [ValueError("not mapped"), KeyError("x"), 0.0, -1.0, float("nan"), float("inf")])
def test_a_table_that_does_not_know_gives_none(said: float | Exception) -> None:
    assert cost(said) is None


def test_without_usage_nothing_is_known() -> None:
    assert cost(9.0, usage=None, price=Price(input=1, output=1)) is None
