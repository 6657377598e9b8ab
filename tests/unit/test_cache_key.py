"""The cache key: equal for equal requests, in any process, and for no others; `python -m tests.benchmarks sharing` runs more."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from infrastructure.core.config_core import Settings
from tests.support.cache_keys import BASE, CANDIDATES, CHANGES, changed, check_pairs, digest, digest_with_seed
from workers.jobs.codec import pack, unpack
from workers.jobs.request.completion import CompletionRequest, parse_request
from workers.providers.caching.key import NOT_IN_KEY, VERSION, cache_key, canonical

GOLDEN = json.loads((Path(__file__).parent / "cache_keys.json").read_text("utf-8"))


@pytest.mark.parametrize("case", GOLDEN["requests"], ids=[case["name"] for case in GOLDEN["requests"]])
def test_the_canonical_form_and_the_digest_are_those_of_the_golden_file(case: dict[str, Any]) -> None:
    asked = {**case["request"], "candidates": [tuple(one) for one in case["request"]["candidates"]]}
    assert canonical(**asked).decode() == case["canonical"]
    key = cache_key(**asked)
    assert (key.version, key.tenant, key.digest) == (GOLDEN["version"], asked["tenant"], case["sha256"])
    assert hashlib.sha256(case["canonical"].encode()).hexdigest() == case["sha256"]


def test_each_change_of_a_field_makes_another_key() -> None:
    digests = {name: digest(changed(name)) for name in CHANGES}
    assert len(CHANGES) >= 40
    assert len({digest(BASE), *digests.values()}) == 1 + len(CHANGES)


def test_every_field_that_a_provider_gets_is_among_them() -> None:
    fields = set(CompletionRequest.model_fields) - NOT_IN_KEY
    assert fields <= CHANGES.keys() | BASE.keys()


def test_tenant_model_and_candidates_make_another_key() -> None:
    keys = {
        str(cache_key(tenant=tenant, model=model, candidates=candidates, params=BASE))
        for tenant in ("acme", "zenith")
        for model in ("default", "other")
        for candidates in (CANDIDATES, CANDIDATES[::-1], CANDIDATES[:1])
    }
    assert len(keys) == 12
    digests = {key.rpartition(":")[2] for key in keys}
    assert len(digests) == 12  # no two tenants share even the digest


@pytest.mark.parametrize("field", sorted(NOT_IN_KEY))
def test_how_a_request_is_served_makes_no_other_key(field: str) -> None:
    assert digest({**BASE, field: {"anything": 1}}) == digest(BASE)


@pytest.mark.parametrize(
    "spelling",
    [
        dict(reversed(BASE.items())),
        {**BASE, "top_p": None},
        {**BASE, "n": 1},
        {**BASE, "max_tokens": 100.0},
        {**BASE, "messages": [dict(reversed(one.items())) for one in BASE["messages"]]},
        {**BASE, "messages": [{**one, "name": None} for one in BASE["messages"]]},
    ],
    ids=["order of fields", "null", "one choice", "a number's spelling", "order in a message", "null in a message"],
)
def test_spelling_makes_no_other_key(spelling: dict[str, Any]) -> None:
    assert digest(spelling) == digest(BASE)


def test_one_stop_is_the_same_in_a_list_and_alone() -> None:
    assert digest({**BASE, "stop": "a"}) == digest({**BASE, "stop": ["a"]})


def test_fields_do_not_run_into_each_other() -> None:
    assert digest({**BASE, "stop": "a", "seed": 1}) != digest({**BASE, "stop": "aseed: 1"})


def test_minus_nothing_is_nothing() -> None:
    assert digest({**BASE, "temperature": -0.0}) == digest({**BASE, "temperature": 0})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_has_no_key(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        digest({**BASE, "temperature": value})


def test_the_key_of_a_request_is_the_same_behind_the_front_door_and_the_store() -> None:
    body = {
        "model": "default",
        **BASE,
        "temperature": 0,
        "metadata": {"run": "42"},
        "priority": "high",
        "deadline_s": 5,
    }
    calls = [unpack(pack(parse_request(one, Settings()).call())) for one in (body, dict(reversed(body.items())))]
    assert {digest(call["params"]) for call in calls} == {digest({**BASE, "temperature": 0.0})}


def test_equal_meaning_is_an_equal_key_and_the_other_way_round() -> None:
    check_pairs(300)


def test_the_key_does_not_know_the_process() -> None:
    assert {digest_with_seed(seed) for seed in (0, 1, 4_294_967_295)} == {digest(BASE)}


def test_a_key_says_its_version_and_tenant() -> None:
    key = cache_key(tenant="acme", model="default", candidates=CANDIDATES, params=BASE)
    assert str(key) == f"{VERSION}:acme:{key.digest}"
    assert len(key.digest) == 64
