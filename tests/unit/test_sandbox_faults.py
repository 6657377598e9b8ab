"""The sandbox's fault rules: which requests they hit, how often, and which rules are refused."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import pytest

from workers.providers.sandbox.counters import MOST_NAMES, OTHER, Counters
from workers.providers.sandbox.faults import MOST_RULES, Faults, Request
from workers.providers.sandbox.presets import PRESETS
from workers.providers.sandbox.rules import Action


def request(**different: Any) -> Request:
    usual = {"wire": "openai", "instance": "default", "path": "/v1/chat/completions", "model": "sandbox-small",
             "prompt": "hello there", "headers": {"authorization": "Bearer good"}}  # fmt: skip
    return Request(**{**usual, **different})


def faults(*rules: dict[str, Any]) -> Faults:
    made = Faults()
    made.replace(json.dumps(rules).encode())
    return made


def hits(made: Faults, count: int, **different: Any) -> list[bool]:
    return [made.pick(request(**different)) is not None for _ in range(count)]


@pytest.mark.parametrize(
    ("match", "other"),
    [
        ({"model": "sandbox-*"}, {"model": "gpt-5"}),
        ({"wire": "openai"}, {"wire": "anthropic"}),
        ({"instance": "default"}, {"instance": "east"}),
        ({"path": "/v1/chat/*"}, {"path": "/v1/models"}),
        ({"header": {"authorization": "Bearer go?d"}}, {"headers": {"authorization": "Bearer bad"}}),
        ({"header": {"authorization": "Bearer *"}}, {"headers": {}}),
        ({"contains": "there"}, {"prompt": "hello"}),
    ],
)
def test_a_rule_hits_what_it_matches_and_nothing_else(match: dict[str, Any], other: dict[str, Any]) -> None:
    made = faults({"match": match, "action": {"status": 500}})
    assert hits(made, 1) == [True]
    assert hits(made, 1, **other) == [False]


def test_all_that_a_rule_names_must_match() -> None:
    made = faults({"match": {"model": "sandbox-small", "instance": "east"}, "action": {"status": 500}})
    assert hits(made, 1) == [False]
    assert hits(made, 1, instance="east") == [True]


def test_times_after_and_every_choose_among_what_matches() -> None:
    assert hits(faults({"times": 2}), 4) == [True, True, False, False]
    assert hits(faults({"after": 2}), 4) == [False, False, True, True]
    assert hits(faults({"every": 3}), 6) == [False, False, True, False, False, True]
    assert hits(faults({"after": 1, "every": 2, "times": 1}), 5) == [False, False, True, False, False]


def test_a_probability_is_kept_roughly_and_falls_the_same_in_every_run() -> None:
    first, second = (hits(faults({"probability": 0.25}), 1_000) for _ in range(2))
    assert first == second
    assert 200 < sum(first) < 300


def test_the_first_rule_that_hits_decides() -> None:
    made = faults({"times": 1, "action": {"status": 500}}, {"action": {"status": 429}})
    statuses = [action.status for _ in range(3) if (action := made.pick(request()))]
    assert statuses == [500, 429, 429]


def test_the_rules_shown_tell_how_often_each_matched_and_hit() -> None:
    made = faults({"preset": "openai-500", "times": 1})
    hits(made, 3)
    (shown,) = made.shown()
    assert (shown["preset"], shown["matched"], shown["hits"]) == ("openai-500", 1, 1)


def test_a_preset_is_for_its_wire_and_may_be_refined() -> None:
    made = faults({"preset": "openai-429-rate", "match": {"model": "a"}, "action": {"headers": {"Retry-After": "7"}}})
    assert made.pick(request(model="a", wire="anthropic")) is None
    action = made.pick(request(model="a"))
    assert action is not None
    assert (action.status, action.sent_headers()) == (429, {"Retry-After": "7"})


def test_every_preset_is_a_valid_rule() -> None:
    made = faults(*({"preset": name} for name in PRESETS))
    assert len(made.shown()) == len(PRESETS)


def test_a_retry_after_date_lies_ahead_of_the_moment_it_is_sent() -> None:
    date = Action(retry_after_date_s=20).sent_headers()["Retry-After"]
    assert 15 < parsedate_to_datetime(date).timestamp() - time() <= 20


def test_one_rule_need_not_stand_in_a_list() -> None:
    made = Faults()
    made.replace(b' {"preset": "openai-500"}')
    assert hits(made, 1) == [True]


@pytest.mark.parametrize(
    "rules",
    [
        b"",
        b"[",
        b'"openai-500"',
        b'[{"preset": "openai-5000"}]',
        b'[{"preset": ["openai-500"]}]',
        b'[{"preset": "openai-500", "action": 5}]',
        b'[{"presett": "openai-500"}]',
        b'[{"match": {"modell": "a"}}]',
        b'[{"action": {"status": 200}}]',
        b'[{"action": {"lie": "flattery"}}]',
        b'[{"action": {"latency_s": -1}}]',
        b'[{"probability": 0}]',
        b'[{"times": 0}]',
        b"[" + b",".join([b"{}"] * (MOST_RULES + 1)) + b"]",
    ],
)
def test_a_malformed_rule_is_refused_and_the_old_ones_stay(rules: bytes) -> None:
    made = faults({"preset": "openai-500"})
    with pytest.raises(ValueError, match=r"expected|validation error"):
        made.replace(rules)
    assert hits(made, 1) == [True]


def test_the_names_that_counters_keep_are_bounded() -> None:
    counters = Counters()
    for number in range(MOST_NAMES + 50):
        with counters.visit(instance="default", path=f"/{number}") as visit:
            visit.decide("404")
    by_path = counters.shown()["by_path"]
    assert len(by_path) == MOST_NAMES + 1
    assert by_path[OTHER] == 50


def test_a_request_that_ends_undecided_counts_as_gone() -> None:
    counters = Counters()
    with counters.visit(instance="default", path="/"):
        assert counters.in_flight == 1
    assert counters.shown()["by_status"] == {"gone": 1}
    assert counters.in_flight == 0


def test_a_reset_keeps_what_is_in_flight() -> None:
    counters = Counters()
    with counters.visit(instance="default", path="/"):
        counters.reset()
        assert counters.shown()["peak_in_flight"] == 1
    shown = counters.shown()
    assert (shown["requests"], shown["in_flight"]) == (0, 0)
