"""What a round of checks looks at, and what it makes of what it finds."""

from __future__ import annotations

from typing import Any

import pytest

from infrastructure.core.config_core import Provider, Settings
from infrastructure.core.config_core.sections import Health as HealthSettings
from workers.jobs.gate.models import Breaker, TargetState
from workers.jobs.health import Health, Standing
from workers.providers.health.judging import Plan, judged, plan, spares_calls
from workers.providers.health.reach import Reach

SETTINGS = Settings(providers={"p": Provider(needs_key=False, base_url="http://h/v1")}, enabled=("p",),
                    models={"m": ("p/one", "p/two")}, health=HealthSettings(interval_s=30))  # fmt: skip
REACHED = Reach(reachable=True, refused=False, reason="", response_time_ms=5)
GONE = Reach(reachable=False, refused=False, reason="provider_unavailable", response_time_ms=5)
REFUSED = Reach(reachable=True, refused=True, reason="provider_authentication", response_time_ms=5)


def target(model: str = "one", **fields: Any) -> TargetState:
    return TargetState(provider="p", model=model, **fields)


def shut(model: str = "one", **fields: Any) -> TargetState:
    return target(model, **{"breaker": Breaker.OPEN, "reason": "provider_timeout", "next_probe_ms": 0, **fields})


def planned(
    *states: TargetState, status: Standing = Standing.HEALTHY, age_s: float | None = 60, watched_ms: float = 0
) -> Plan | None:
    before = Health(provider="p", status=status, age_ms=None if age_s is None else int(1_000 * age_s))
    return plan("p", before, states, SETTINGS, watched_ms=watched_ms)


def models(*states: TargetState, **more: Any) -> tuple[str, ...]:
    found = planned(*states, **more)
    assert found is not None
    return found.models


def test_a_fresh_check_is_gone_by() -> None:
    assert planned(age_s=20) is None
    assert planned(age_s=29.5) is not None
    assert planned(age_s=None, status=Standing.UNKNOWN) is not None


@pytest.mark.parametrize("status", [Standing.DOWN, Standing.REFUSED, Standing.DEGRADED])
def test_what_is_in_trouble_is_looked_at_each_ten_seconds(status: Standing) -> None:
    assert planned(status=status, age_s=8) is None
    assert planned(status=status, age_s=9.5) is not None
    assert planned(shut(next_probe_ms=500), age_s=9.5) is not None


def test_an_open_breaker_that_is_due_is_tried_at_once() -> None:
    assert models(shut(), age_s=1) == ("one",)
    assert planned(shut(next_probe_ms=500), age_s=1) is None
    assert planned(shut(throttled_ms=500), age_s=1) is None


def test_a_model_that_a_caller_made_up_is_nobodys_trouble() -> None:
    assert planned(shut("made-up"), age_s=1) is None
    assert models(shut("was-there", heard_ago_ms=60_000), age_s=1) == ("was-there",)
    found = planned(shut("made-up"), target("one", heard_ago_ms=5))
    assert found is not None
    assert judged(found, REACHED, {}).status is Standing.HEALTHY


def test_one_that_nobody_heard_for_five_minutes_has_its_usual_model_generate() -> None:
    assert models(target("two", heard_ago_ms=299_000)) == ()
    assert models(target("two", heard_ago_ms=301_000)) == ("two",)
    assert models(watched_ms=299_000) == ()
    assert models(watched_ms=300_000) == ("one",)
    assert models(status=Standing.DOWN) == ("one",)


@pytest.mark.parametrize(
    ("states", "reach", "generated", "status", "reason"),
    [
        ([], REACHED, {}, Standing.HEALTHY, ""),
        ([], GONE, {}, Standing.DOWN, "provider_unavailable"),
        ([], REFUSED, {}, Standing.REFUSED, "provider_authentication"),
        ([target(heard_ago_ms=5)], GONE, {}, Standing.DEGRADED, "provider_unavailable"),
        ([shut()], REACHED, {}, Standing.DOWN, "provider_timeout"),
        ([shut()], REACHED, {"one": ""}, Standing.HEALTHY, ""),
        ([shut()], REACHED, {"one": "bad_answer"}, Standing.DOWN, "bad_answer"),
        ([shut(), target("two", heard_ago_ms=5)], REACHED, {}, Standing.DEGRADED, "provider_timeout"),
        ([shut(reason="provider_quota")], REACHED, {}, Standing.REFUSED, "provider_quota"),
        ([], REACHED, {"one": "provider_authentication"}, Standing.REFUSED, "provider_authentication"),
        ([], REFUSED, {"one": ""}, Standing.DEGRADED, "provider_authentication"),
    ],
)
def test_what_is_made_of_what_was_found(
    states: list[TargetState], reach: Reach, generated: dict[str, str | None], status: Standing, reason: str
) -> None:
    found = planned(*states)
    assert found is not None
    health = judged(found, reach, generated)
    assert (health.status, health.reason) == (status, reason)


def test_one_that_was_down_is_so_until_something_answers() -> None:
    found = planned(status=Standing.DOWN)
    assert found is not None
    assert judged(found, REACHED, {"one": None}).status is Standing.DOWN
    assert judged(found, REACHED, {"one": ""}).status is Standing.HEALTHY


def test_the_success_rate_is_that_of_the_last_calls() -> None:
    found = planned(target(calls=30, failures=3), target("two", calls=10, failures=1))
    assert found is not None
    assert judged(found, REACHED, {}).success_rate == 0.9


def test_jobs_are_kept_away_from_what_is_down_unless_breakers_do_so_already() -> None:
    down = Health(provider="p", status=Standing.DOWN, reason="provider_unavailable")
    for states, wanted in (((), True), ((target(),), True), ((shut(),), False), ((shut(), target("two")), True)):
        found = planned(*states)
        assert found is not None
        assert spares_calls(found, down) is wanted
    found = planned()
    assert found is not None
    assert not spares_calls(found, Health(provider="p", status=Standing.DOWN, reason="model_unavailable"))
    assert not spares_calls(found, Health(provider="p", status=Standing.DEGRADED, reason="provider_unavailable"))
