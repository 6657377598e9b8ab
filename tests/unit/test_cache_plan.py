"""What a cache mode means for a request."""

from __future__ import annotations

from typing import Any

import pytest

from infrastructure.core.config_core import Settings
from workers.providers.caching.plan import Plan, plan

USE, REFRESH, OFF = (True, True, True), (False, True, False), (False, False, False)


def planned(asked: dict[str, Any] | None = None, *, cache: dict[str, Any] | None = None, **params: Any) -> Plan:
    return plan(Settings.model_validate({"cache": cache or {}}), asked, params)


def may(one: Plan) -> tuple[bool, bool, bool]:
    return one.reads, one.keeps, one.joins


@pytest.mark.parametrize(("mode", "expected"), [("use", USE), ("refresh", REFRESH), ("off", OFF), ("auto", OFF)])
def test_a_mode_says_whether_to_read_keep_and_join(mode: str, expected: tuple[bool, bool, bool]) -> None:
    assert may(planned({"mode": mode})) == expected
    assert may(planned(cache={"mode": mode})) == expected


def test_the_request_s_mode_comes_before_the_configuration_s() -> None:
    assert may(planned({"mode": "off"}, cache={"mode": "use"})) == OFF
    assert may(planned({"mode": None, "ttl": 5}, cache={"mode": "refresh"})) == REFRESH


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"temperature": 0}, USE),
        ({"temperature": 0.0}, USE),
        ({"seed": 0}, USE),
        ({"temperature": 0.1}, OFF),
        ({}, OFF),
    ],
)
def test_auto_uses_the_cache_where_another_sample_cannot_be_meant(
    params: dict[str, Any], expected: tuple[bool, bool, bool]
) -> None:
    assert may(planned({"mode": "auto"}, **params)) == expected


@pytest.mark.parametrize("mode", ["use", "refresh", "auto"])
def test_several_choices_are_never_shared(mode: str) -> None:
    assert may(planned({"mode": mode}, n=2, temperature=0)) == OFF
    assert may(planned({"mode": mode}, n=1, temperature=0)) != OFF


@pytest.mark.parametrize("mode", ["use", "refresh", "auto"])
def test_a_cache_that_is_switched_off_is_off_for_all(mode: str) -> None:
    assert may(planned({"mode": mode}, cache={"enabled": False}, temperature=0)) == OFF


def test_an_answer_is_kept_for_the_request_s_ttl_or_the_configuration_s_and_at_most_a_week() -> None:
    assert planned().ttl_s == 300
    assert planned(cache={"ttl": 60}).ttl_s == 60
    assert planned({"ttl": 5}, cache={"ttl": 60}).ttl_s == 5
    assert planned({"ttl": 10_000_000}).ttl_s == 604_800
