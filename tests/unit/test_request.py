"""The body of a completion: what is taken, what is refused, and how a refusal reads."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import ValidationFailed
from workers.jobs.request.completion import CompletionRequest, parse_request
from workers.jobs.request.options import Schema

SETTINGS = Settings()
USER = {"role": "user", "content": "What is 6 times 7?"}


def body(**more: Any) -> dict[str, Any]:
    return {"model": "default", "messages": [USER], **more}


def faults_of(value: Any, *, settings: Settings = SETTINGS) -> dict[str, str]:
    with pytest.raises(ValidationFailed) as failure:
        parse_request(value, settings)
    return {found["field"]: found["message"] for found in failure.value.data["errors"]}


def test_a_request_becomes_the_call_that_a_worker_makes() -> None:
    asked = parse_request(
        body(temperature=0, max_tokens=9, cache={"mode": "off"}, priority="low", metadata={"a": "b"}, stream=False),
        SETTINGS,
    )
    assert asked.call() == {
        "model": "default",
        "params": {"messages": [USER], "temperature": 0, "max_tokens": 9},
        "cache": {"mode": "off"},
    }


def test_null_for_an_optional_parameter_is_leaving_it_out() -> None:
    optional = {name: None for name, field in CompletionRequest.model_fields.items() if not field.is_required()}
    assert parse_request(body(**optional), SETTINGS).call() == parse_request(body(), SETTINGS).call()


def test_a_null_inside_a_message_is_kept() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [USER, {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "42"}]  # fmt: skip
    assert parse_request(body(messages=messages), SETTINGS).call()["params"]["messages"] == messages


FULL: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "mp3"},
    "frequency_penalty": -2,
    "function_call": {"name": "f"},
    "functions": [{"name": "f", "parameters": {"type": "object"}}],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 5,
    "modalities": ["text", "audio"],
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": [{"type": "text", "text": "x"}]},
    "presence_penalty": 2.0,
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "reasoning_effort": "minimal",
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    "safety_identifier": "s",
    "seed": -(2**63),
    "service_tier": "flex",
    "stop": ["a", "b", "c", "d"],
    "store": False,
    "temperature": 2,
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "g"}}],
    "top_logprobs": 20,
    "top_p": 1,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {"user_location": {"type": "approximate", "approximate": {"country": "DE"}}},
}


def test_every_parameter_reaches_the_call_as_it_was_given() -> None:
    params = parse_request(body(**FULL), SETTINGS).call()["params"]
    assert params == {"messages": [USER], **FULL}


def test_every_parameter_of_the_openai_client_is_known_or_left_out_on_purpose() -> None:
    from openai.types.chat.completion_create_params import CompletionCreateParamsBase

    left_out = {"stream_options", "moderation", "prompt_cache_options"}
    assert set(CompletionCreateParamsBase.__annotations__) - set(CompletionRequest.model_fields) == left_out
    assert {*FULL, "model", "messages", "metadata", "max_tokens"} >= (
        set(CompletionCreateParamsBase.__annotations__) - left_out
    )


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": "s"},
        {"role": "developer", "content": [{"type": "text", "text": "d"}], "name": "n"},
        {"role": "user", "content": ""},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_data": "data:application/pdf;base64,AA=="}}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": ""}},
        {"role": "function", "name": "f", "content": "1"},
    ],
)
def test_each_kind_of_message_is_taken(message: dict[str, Any]) -> None:
    assert parse_request(body(messages=[USER, message]), SETTINGS).call()["params"]["messages"][1] == message


@pytest.mark.parametrize(
    ("more", "field", "told"),
    [
        ({"model": 5}, "model", "expected a string, got 5"),
        ({"model": ""}, "model", "expected 1 to 256 letters"),
        ({"model": "openai/../../v1/files"}, "model", "expected 1 to 256"),
        ({"model": "x?key=1"}, "model", "expected 1 to 256"),
        ({"messages": []}, "messages", "expected at least 1 item(s), got an empty list"),
        ({"messages": "hi"}, "messages", "expected a list, got a string of 2 characters"),
        ({"messages": [{"role": "usr", "content": ""}]}, "messages.0.role", "expected one of 'system'"),
        ({"messages": [{"content": ""}]}, "messages.0.role", "this field is required"),
        ({"messages": [USER, {"role": "user"}]}, "messages.1.content", "this field is required"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content", "a string or a list of parts"),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0.content", "expected at least 1"),
        ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, "messages.0.content.0.type", "expected one of"),
        ({"messages": [{"role": "user", "content": "", "cache": 1}]}, "messages.0.cache", "no such field"),
        ({"messages": [{"role": "assistant"}]}, "messages.0", "expected content, tool_calls"),
        ({"messages": [7]}, "messages.0", "expected an object, got 7"),
        ({"max_tokens": -1}, "max_tokens", "expected at least 1, got -1"),
        ({"max_tokens": 10**9}, "max_tokens", "expected at most 1000000, got 1000000000"),
        ({"max_completion_tokens": 10**9}, "max_completion_tokens", "expected at most 1000000"),
        ({"max_tokens": 1.5}, "max_tokens", "expected a whole number, got 1.5"),
        ({"max_tokens": "9"}, "max_tokens", "expected a whole number, got a string of 1 character"),
        ({"n": 17}, "n", "expected at most 16, got 17"),
        ({"temperature": 2.1}, "temperature", "expected at most 2.0, got 2.1"),
        ({"temperature": True}, "temperature", "expected a number, got true"),
        ({"top_p": -0.1}, "top_p", "expected at least 0.0"),
        ({"presence_penalty": 3}, "presence_penalty", "expected at most 2"),
        ({"seed": 2**63}, "seed", "expected at most"),
        ({"stop": ["a"] * 5}, "stop", "expected at most 4 items, got a list of 5 items"),
        ({"stop": 5}, "stop", "expected a string or a list of strings"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5", "expected at most 100"),
        ({"top_logprobs": 21}, "top_logprobs", "expected at most 20"),
        ({"tools": [{"type": "mcp"}]}, "tools.0.type", "expected one of 'function', 'custom'"),
        ({"tools": [FULL["tools"][0]] * 129}, "tools", "expected at most 128 items"),
        ({"tool_choice": "some"}, "tool_choice", "expected 'none', 'auto' or 'required'"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "expected one of 'text'"),
        ({"stream": True}, "stream", "the answer of a job comes whole"),
        ({"cache": {"mode": "on"}}, "cache.mode", "expected 'use', 'refresh', 'off' or 'auto'"),
        ({"cache": {"ttl": 0}}, "cache.ttl", "expected at least 1, got 0"),
        ({"priority": "urgent"}, "priority", "expected 'high', 'normal' or 'low'"),
        ({"deadline_s": 0}, "deadline_s", "expected more than 0"),
        ({"deadline_s": 604_801}, "deadline_s", "expected at most 604800 seconds, got 604801"),
        ({"metadata": {"k" * 65: "v"}}, "metadata." + "k" * 64, "expected at most 64 characters"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "expected at most 512 characters"),
        ({"metadata": {str(i): "v" for i in range(17)}}, "metadata", "expected at most 16 items"),
        ({"webhook": "we_1"}, "webhook", "no such webhook endpoint"),
        ({"tempreature": 1}, "tempreature", "no such field; did you mean temperature?"),
    ],
)
def test_a_broken_rule_is_told_with_its_field(more: dict[str, Any], field: str, told: str) -> None:
    found = faults_of(body(**more))
    assert list(found) == [field] or field in found
    assert told in found[field]


@pytest.mark.parametrize(
    "name", ["api_base", "api_key", "base_url", "headers", "extra_headers", "extra_body", "user_config", "api_version",
             "custom_llm_provider", "mock_response", "num_retries", "timeout", "fallbacks", "call", "model_fields"])  # fmt: skip
def test_what_would_steer_the_library_is_refused_by_name(name: str) -> None:
    assert "no such field" in faults_of(body(**{name: "x"}))[name]


@pytest.mark.parametrize(
    "url",
    ["http://example.com/a.png", "https://127.0.0.1/a", "https://[::1]/a", "https://169.254.169.254/latest",
     "https://localhost/a", "https://redis/a", "https://a.internal/a", "https://10.1.2.3/", "https://2130706433/",
     "https://0x7f.1/", "https://user@example.com/", "https://example.com:6379/", "file:///etc/passwd", "data:text/html,x",
     "https://example.com:x/", "https://[::1", ""])  # fmt: skip
def test_an_image_inside_somebodys_network_is_refused(url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    assert "messages.0.content.0.image_url.url" in faults_of(body(messages=[{"role": "user", "content": [part]}]))


def test_a_file_of_the_providers_account_is_refused() -> None:
    part = {"type": "file", "file": {"file_id": "file-abc"}}
    assert "messages.0.content.0.file.file_id" in faults_of(body(messages=[{"role": "user", "content": [part]}]))


def test_all_faults_are_told_at_once() -> None:
    found = faults_of({"messages": [], "max_tokens": -1, "api_base": "x", "metadata": {"a": 1}})
    assert set(found) == {"model", "messages", "max_tokens", "api_base", "metadata.a"}


@pytest.mark.parametrize("value", [[], "x", 1, None, True])
def test_a_body_that_is_no_object_is_refused(value: Any) -> None:
    assert faults_of(value)["body"].startswith("expected an object, got ")


def test_pointers_are_json_pointers() -> None:
    with pytest.raises(ValidationFailed) as failure:
        parse_request(body(metadata={"a/b~c": 1}), SETTINGS)
    assert failure.value.data["errors"][0]["pointer"] == "#/metadata/a~1b~0c"


def test_the_limits_are_the_configurations() -> None:
    small = Settings.model_validate(
        {"limits": {"messages": 2, "max_tokens": 10}, "jobs": {"deadline_s": 5, "max_deadline_s": 5}}
    )
    found = faults_of(body(messages=[USER] * 3, max_tokens=11, deadline_s=6), settings=small)
    assert found == {
        "messages": "expected at most 2 messages, got 3",
        "max_tokens": "expected at most 10, got 11",
        "deadline_s": "expected at most 5 seconds, got 6",
    }


def test_a_body_with_very_many_faults_gets_a_short_answer_soon() -> None:
    started = time.process_time()
    found = faults_of(body(**{f"field{number}": 1 for number in range(100_000)}))
    assert list(found) == ["body"]
    assert "more than 100 rules" in found["body"]
    parts = faults_of(body(messages=[{"role": "user", "content": [1] * 1_000}] * 50))
    assert len(parts) <= 50
    assert time.process_time() - started < 3


SECRET = "Zq7-planted-prompt"


@given(
    st.recursive(
        st.sampled_from([SECRET, SECRET * 9, None, True, 5, 0.5]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "name", "url"]), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    st.sampled_from([*sorted(CompletionRequest.model_fields)]),
)
@settings(max_examples=150, deadline=None)
def test_no_fault_ever_repeats_a_value(value: Any, field: str) -> None:
    try:
        parse_request(body(**{field: value}), SETTINGS)
    except ValidationFailed as failure:
        assert SECRET not in failure.message + str(failure.data)  # noqa: PT017  most values are refused, some are fine


def test_the_schema_for_the_reference_can_be_made() -> None:
    schema = CompletionRequest.model_json_schema()
    assert schema["required"] == ["model", "messages"]
    assert schema["additionalProperties"] is False


def _chained(links: int) -> dict[str, Any]:
    """Return a schema of definitions that each name the next one twice."""
    definitions: dict[str, Any] = {
        f"d{at}": {"type": "array", "prefixItems": [{"$ref": f"#/$defs/d{at + 1}"}, {"$ref": f"#/$defs/d{at + 1}"}]}
        for at in range(links)
    }
    return {"$defs": {**definitions, f"d{links}": {"type": "string"}}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize("links", [22, 60, 5_000])
def test_a_schema_that_grows_without_bound_when_its_references_are_expanded_is_refused(links: int) -> None:
    with pytest.raises(ValueError, match="nodes with its references expanded"):
        Schema.model_validate({"name": "s", "schema": _chained(links)})


def test_a_schema_with_ordinary_and_circular_references_is_accepted() -> None:
    tree = {"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"}

    assert Schema.model_validate({"name": "s", "schema": tree}).schema_ == tree
    assert Schema.model_validate({"name": "s", "schema": _chained(5)})
