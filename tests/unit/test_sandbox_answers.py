"""The sandbox's answers and what it reads out of a request."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from workers.providers.sandbox import wire_anthropic, wire_openai
from workers.providers.sandbox.answers import make, proof, prose, usage_of
from workers.providers.sandbox.asked import Refused
from workers.providers.sandbox.schema import fill


def openai_body(*contents: Any, **extra: Any) -> dict[str, Any]:
    return {"model": "sandbox-small", "messages": [{"role": "user", "content": c} for c in contents], **extra}


def test_the_proof_is_the_start_of_the_prompts_sha256() -> None:
    digest = hashlib.sha256(b"what is 2 + 2?").hexdigest()
    assert proof("what is 2 + 2?") == f"[sandbox] sha256:{digest[:16]}"


def test_an_answer_begins_with_its_prompts_proof_and_never_repeats_the_prompt() -> None:
    prompt = "a rather unusual sentence about zeppelins"
    assert prose(prompt).startswith(proof(prompt) + " ")
    assert "zeppelins" not in prose(prompt)


def test_a_lone_surrogate_in_a_prompt_has_a_proof_too() -> None:
    assert proof("\ud800") != proof("\ud801")


def test_the_choices_of_one_answer_differ() -> None:
    made = make(wire_openai.read(openai_body("hello", n=3)))
    assert len({choice.text for choice in made}) == 3


def test_the_prompt_is_the_last_user_message() -> None:
    body = openai_body("first", "second")
    body["messages"].append({"role": "assistant", "content": "third"})
    assert wire_openai.read(body).prompt == "second"


def test_a_content_of_one_text_part_is_the_same_prompt_as_the_text() -> None:
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    assert wire_openai.read(openai_body(parts)) == wire_openai.read(openai_body("look"))


def test_both_wires_see_the_same_conversation() -> None:
    spoken = [{"role": "user", "content": "hello"}]
    over_openai = wire_openai.read(
        {"model": "m", "messages": [{"role": "system", "content": "be brief"}, *spoken], "max_tokens": 9}
    )
    over_anthropic = wire_anthropic.read(
        {"model": "m", "messages": spoken, "system": [{"type": "text", "text": "be brief"}], "max_tokens": 9}
    )
    assert over_openai.digest == over_anthropic.digest
    assert over_openai.prompt_tokens == over_anthropic.prompt_tokens


def test_the_conversations_digest_tells_roles_and_system_texts_apart() -> None:
    def digest(role: str, text: str) -> int:
        messages = [{"role": role, "content": text}, {"role": "user", "content": "hello"}]
        return wire_openai.read({"model": "m", "messages": messages}).digest

    assert len({digest("system", "a"), digest("user", "a"), digest("assistant", "a"), digest("system", "b")}) == 4


def test_tokens_are_a_quarter_of_the_characters_rounded_up() -> None:
    asked = wire_openai.read(openai_body("x" * 41))
    made = make(asked)
    usage = usage_of(asked, made)
    assert usage.prompt == 11
    assert usage.completion == -(-len(made[0].text or "") // 4)
    assert usage.total == usage.prompt + usage.completion


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_cuts_the_answer_and_says_so(name: str) -> None:
    asked = wire_openai.read(openai_body("hello", **{name: 12}))
    (made,) = make(asked)
    assert made.finish == "length"
    assert usage_of(asked, [made]).completion == 12
    assert (made.text or "").startswith(proof("hello"))


def test_a_required_tool_is_called_with_arguments_that_fit_its_schema() -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
        "required": ["city", "days", "unit"],
    }
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    (made,) = make(wire_openai.read(openai_body("hello", tools=tools, tool_choice="required")))
    assert made.call is not None
    assert (made.call.name, made.finish, made.text) == ("weather", "tool_calls", None)
    assert json.loads(made.call.arguments) == {"city": proof("hello"), "days": 1, "unit": "C"}


def test_tools_that_need_not_be_called_are_not() -> None:
    tools = [{"type": "function", "function": {"name": "weather"}}]
    (made,) = make(wire_openai.read(openai_body("hello", tools=tools, tool_choice="auto")))
    assert made.call is None


def test_a_named_tool_that_is_not_there_is_refused() -> None:
    choice = {"type": "function", "function": {"name": "other"}}
    tools = [{"type": "function", "function": {"name": "weather"}}]
    with pytest.raises(Refused, match="tool_choice"):
        wire_openai.read(openai_body("hello", tools=tools, tool_choice=choice))


def test_json_is_answered_where_json_is_asked_for() -> None:
    (made,) = make(wire_openai.read(openai_body("hello", response_format={"type": "json_object"})))
    assert json.loads(made.text or "") == {"sandbox": True, "proof": proof("hello")}


def test_an_answer_fits_the_json_schema_asked_for() -> None:
    schema = {"type": "object", "properties": {"steps": {"type": "array", "items": {"type": "string"}}}}
    form = {"type": "json_schema", "json_schema": {"name": "plan", "schema": schema}}
    (made,) = make(wire_openai.read(openai_body("hello", response_format=form)))
    assert json.loads(made.text or "") == {"steps": [proof("hello")]}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 7}, 7),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"type": ["boolean", "null"]}, True),
        ({"type": "number"}, 1),
        ({"type": "array", "items": {"type": "integer"}}, [1]),
        ({}, "text"),
        (True, None),
    ],
)
def test_a_value_fits_its_schema(schema: Any, value: Any) -> None:
    assert fill(schema, "text") == value


def test_a_schema_that_nests_for_ever_ends() -> None:
    schema: dict[str, Any] = {"type": "object"}
    schema["properties"] = {"again": schema}
    value, depth = fill(schema, "text"), 0
    while value is not None:
        value, depth = value["again"], depth + 1
    assert depth == 9


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": "m"}, 400),
        ({"model": "m", "messages": []}, 400),
        ({"model": "m", "messages": ["hello"]}, 400),
        ({"messages": [{"role": "user", "content": "hello"}]}, 400),
        (openai_body("hello", n=0), 400),
        (openai_body("hello", n=129), 400),
        (openai_body("hello", max_tokens=-1), 400),
        (openai_body("hello", max_tokens="many"), 400),
        (openai_body("hello", model="gpt-unknown"), 404),
    ],
)
def test_a_request_without_sense_is_refused_as_a_provider_would(body: dict[str, Any], status: int) -> None:
    with pytest.raises(Refused) as refused:
        wire_openai.read(body)
    assert refused.value.status == status


def test_the_anthropic_wire_insists_on_max_tokens() -> None:
    with pytest.raises(Refused, match="max_tokens"):
        wire_anthropic.read(openai_body("hello"))
