"""Requests for tests of the cache key: a full one, changes of each field, pairs of requests, and what they mean."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from fractions import Fraction
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.sandbox import ROOT
from workers.providers.caching.key import NOT_IN_KEY, cache_key

CANDIDATES = (("openai", "gpt-5-mini"), ("anthropic", "claude-haiku-4-5"))
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a harbour?"}]
SCHEMA = {"type": "object", "properties": {"zeal": {"type": "string"}, "age": {"type": "integer"}}}
TOOL = {"type": "function", "function": {"name": "look_up", "description": "Looks up.", "parameters": SCHEMA}}
BASE: dict[str, Any] = {
    "messages": MESSAGES, "temperature": 0.5, "max_tokens": 100, "tools": [TOOL],
    "response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}},
}  # fmt: skip
_TURNED = {"type": "object", "properties": dict(reversed(SCHEMA["properties"].items()))}  # type: ignore[attr-defined]
_CALLED = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"a":1}'}}


def _said(content: Any, **more: Any) -> list[dict[str, Any]]:
    return [MESSAGES[0], {"role": "user", "content": content, **more}]


def _image(**more: Any) -> list[dict[str, Any]]:
    return _said([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", **more}}])


CHANGES: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "frequency_penalty": 0.1,
    "function_call": "auto",
    "functions": [{"name": "f", "parameters": SCHEMA}],
    "functions, order in the schema": ("functions", [{"name": "f", "parameters": _TURNED}]),
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 100,
    "max_tokens": 101,
    "messages, order": ("messages", MESSAGES[::-1]),
    "messages, one less": ("messages", MESSAGES[1:]),
    "messages, a space": ("messages", _said("What is a harbour? ")),
    "messages, case": ("messages", _said("what is a harbour?")),
    "messages, another form of a letter": ("messages", _said("What is a harbou\u0072\u0301?")),
    "messages, the same letter composed": ("messages", _said("What is a harbou\u0155?")),
    "messages, parts": ("messages", _said([{"type": "text", "text": "What is a harbour?"}])),
    "messages, name": ("messages", _said("What is a harbour?", name="ann")),
    "messages, role": ("messages", [{**MESSAGES[0], "role": "developer"}, MESSAGES[1]]),
    "messages, image": ("messages", _image()),
    "messages, detail of an image": ("messages", _image(detail="low")),
    "messages, tool call": ("messages", [*MESSAGES, {"role": "assistant", "tool_calls": [_CALLED]}]),
    "messages, tool result": ("messages", [*MESSAGES, {"role": "tool", "tool_call_id": "call_1", "content": "1"}]),
    "messages, id of a tool call": ("messages", [*MESSAGES, {"role": "tool", "tool_call_id": "call_2", "content": "1"}]),
    "modalities": ["text"],
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "A harbour"},
    "presence_penalty": 0.1,
    "prompt_cache_key": "a",
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
    "response_format, order in the schema": ("response_format", {"type": "json_schema", "json_schema": {"name": "person", "schema": _TURNED}}),
    "response_format, strict": ("response_format", {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": SCHEMA}}),
    "safety_identifier": "a",
    "seed": 1,
    "service_tier": "flex",
    "stop": "a",
    "stop, several": ("stop", ["a", "b"]),
    "stop, order": ("stop", ["b", "a"]),
    "store": True,
    "temperature": 0.6,
    "tool_choice": "none",
    "tool_choice, by name": ("tool_choice", {"type": "function", "function": {"name": "look_up"}}),
    "tools, order in the schema": ("tools", [{"type": "function", "function": {**TOOL["function"], "parameters": _TURNED}}]),  # type: ignore[dict-item]
    "tools, two": ("tools", [TOOL, {"type": "function", "function": {"name": "other"}}]),
    "tools, two in another order": ("tools", [{"type": "function", "function": {"name": "other"}}, TOOL]),
    "top_logprobs": 2,
    "top_p": 0.5,
    "user": "a",
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low"},
    "a field that nobody knows yet": ("thinking", {"budget_tokens": 100}),
}  # fmt: skip
"""A name -> a value of the field of that name, or (field, value): each makes another request than BASE and all others."""


def changed(name: str) -> dict[str, Any]:
    """Return BASE with one change."""
    change = CHANGES[name]
    field, value = change if isinstance(change, tuple) else (name, change)
    return {**BASE, field: value}


def digest(params: Mapping[str, Any], *, tenant: str = "acme", model: str = "default") -> str:
    """Return a request's digest."""
    return cache_key(tenant=tenant, model=model, candidates=CANDIDATES, params=params).digest


def meaning(params: Mapping[str, Any]) -> Any:
    """Return what a request means, as values that are equal where meanings are; written without a look at the key."""
    said = {name: value for name, value in params.items() if name not in NOT_IN_KEY and value is not None}
    if said.get("n") == 1:
        said.pop("n")
    if isinstance(said.get("stop"), str):
        said["stop"] = [said["stop"]]
    return _meant(said, ())


def _meant(value: Any, path: tuple[str, ...]) -> Any:
    if path[-2:] in {("function", "parameters"), ("functions", "parameters"), ("json_schema", "schema")}:
        return _exactly(value)
    if isinstance(value, dict):
        return frozenset((name, _meant(one, (*path, name))) for name, one in value.items() if one is not None)
    if isinstance(value, list):
        return tuple(_meant(one, path) for one in value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number", Fraction(value)
    return type(value).__name__, value


def _exactly(value: Any) -> Any:
    if isinstance(value, dict):
        return "{}", tuple((name, _exactly(one)) for name, one in value.items())
    if isinstance(value, list):
        return "[]", tuple(map(_exactly, value))
    return type(value).__name__, repr(value)


def check_pairs(count: int) -> None:
    """See of `count` pairs of requests that their keys are equal where their meanings are, and only there."""

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(_params, _params, st.sampled_from(["same", "touched", "other"]), st.integers(0, 2**32))
    def check(one: dict[str, Any], other: dict[str, Any], how: str, chance: int) -> None:
        random = Random(chance)
        if how == "same":
            other = spelled_otherwise(one, random)
        elif how == "touched":
            other = _touched(one, other, random)
        assert (digest(one) == digest(other)) == (meaning(one) == meaning(other))
        if how == "same":
            assert digest(one) == digest(other)

    check()


def spelled_otherwise(params: dict[str, Any], random: Random) -> dict[str, Any]:
    """Return the same request in another spelling."""
    other = {**_turned(params, random), **{name: "x" for name in NOT_IN_KEY if random.random() < 0.2}}
    if "n" not in params and random.random() < 0.5:
        other["n"] = 1
    if isinstance(params.get("stop"), str):
        other["stop"] = [params["stop"]]
    return _shuffled({**other, "user": other.get("user")}, random)


def _turned(value: Any, random: Random, name: str = "") -> Any:
    if isinstance(value, dict):
        schema = {"function": "parameters", "functions": "parameters", "json_schema": "schema"}.get(name)
        turned = {member: one if member == schema else _turned(one, random, member) for member, one in value.items()}
        return _shuffled({**turned, "nothing": None} if random.random() < 0.3 else turned, random)
    if isinstance(value, list):
        return [_turned(one, random, name) for one in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        return float(value)
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _shuffled(members: dict[str, Any], random: Random) -> dict[str, Any]:
    names = list(members)
    random.shuffle(names)
    return {name: members[name] for name in names}


def _touched(one: dict[str, Any], other: dict[str, Any], random: Random) -> dict[str, Any]:
    """Return the first request with one field of the other, or without one of its own."""
    touched = dict(one)
    if other and random.random() < 0.7:
        name = random.choice(sorted(other))
        touched[name] = other[name]
    elif touched:
        touched.pop(random.choice(sorted(touched)))
    return touched


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_number = st.one_of(
    st.integers(-3, 3), st.floats(-3, 3, width=16), st.sampled_from([0, -0.0, 1.0, 1, 2**53, float(2**53), 1e300])
)
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), _number, _text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_text, inner, max_size=3)),
    max_leaves=5,
)
_schema = st.dictionaries(st.sampled_from(["type", "properties", "required", "minimum"]), _json, max_size=3)
_function = st.fixed_dictionaries({"name": _text}, optional={"parameters": _schema, "strict": st.booleans()})
_message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "assistant"])},
    optional={"content": st.one_of(_text, st.none(), st.lists(st.fixed_dictionaries({"type": _text, "text": _text}), max_size=2)),
              "name": _text},
)  # fmt: skip
_params = st.fixed_dictionaries(
    {"messages": st.lists(_message, max_size=3)},
    optional={
        "temperature": _number,
        "top_p": _number,
        "seed": st.integers(-(2**63), 2**63 - 1),
        "n": st.integers(1, 2),
        "stop": st.one_of(_text, st.lists(_text, max_size=2)),
        "logit_bias": st.dictionaries(_text, _number, max_size=2),
        "tools": st.lists(st.fixed_dictionaries({"type": _text, "function": _function}), max_size=2),
        "functions": st.lists(_function, max_size=2),
        "response_format": st.fixed_dictionaries(
            {"type": _text, "json_schema": st.fixed_dictionaries({"name": _text, "schema": _schema})}
        ),
        "extra": _json,
    },
)


def digest_with_seed(seed: int) -> str:
    """Return the digest of BASE in a process whose `hash` has this seed."""
    code = "from tests.support.cache_keys import BASE, digest; print(digest(BASE))"
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    return told.stdout.decode().strip()
