"""What counts as a good answer, and what of it is kept."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from workers.providers.answer import completion, fault

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


class Raw:
    """Something that dumps itself as LiteLLM's answer does."""

    def __init__(self, *choices: dict[str, Any], **fields: Any) -> None:
        self._fields = {"id": "c1", "created": 1, "model": "given", "usage": USAGE, "choices": list(choices), **fields}

    def model_dump(self, *, warnings: bool = True) -> dict[str, Any]:  # noqa: ARG002  as pydantic has it
        return self._fields


def said(content: str | None, *, finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}


TOOL_CALL = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    "choice",
    [
        said("text"),
        said(None, tool_calls=[TOOL_CALL], finish="tool_calls"),
        said(None, provider_specific_fields={"refusal": "I will not."}),
        said("cut", finish="length"),
    ],
)
def test_text_tool_calls_and_refusals_are_good_answers(choice: dict[str, Any]) -> None:
    assert fault(completion(Raw(choice), model="m")) is None


@pytest.mark.parametrize(
    "choices", [[], [said(None)], [said("")], [said(" \n")], [said("text", finish="content_filter")]]
)
def test_no_choices_no_content_and_filtered_content_are_bad_answers(choices: list[dict[str, Any]]) -> None:
    assert fault(completion(Raw(*choices), model="m"))


def test_one_good_choice_among_several_is_enough() -> None:
    assert fault(completion(Raw(said(""), said("text")), model="m")) is None


def test_only_what_openai_has_is_kept() -> None:
    raw = Raw(
        said("text", provider_specific_fields={"refusal": None, "citations": 1}, thinking_blocks=[1], images=[]),
        vertex_ai_safety_results=[],
        usage={**USAGE, "iterations": 1, "prompt_tokens_details": {"cached_tokens": 2, "image_tokens": None}},
    )
    assert completion(raw, model="m") == {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "given",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "text"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 2}},
        "system_fingerprint": None,
    }


def test_the_model_asked_stands_in_for_one_that_the_provider_did_not_name() -> None:
    assert completion(Raw(said("text"), model=None), model="asked")["model"] == "asked"


@pytest.mark.parametrize(
    "usage",
    [None, {}, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, {**USAGE, "prompt_tokens": -1},
     {**USAGE, "total_tokens": "many"}],
)  # fmt: skip
def test_an_absent_or_impossible_usage_is_unknown(usage: dict[str, Any] | None) -> None:
    assert completion(Raw(said("text"), usage=usage), model="m")["usage"] is None


@pytest.mark.parametrize("odd", ["cut \ud83d", 10**30, float("nan")])
def test_an_answer_that_json_cannot_hold_is_kept_as_far_as_it_goes(odd: object) -> None:
    answer = Raw(said("said"), id=odd)

    kept = orjson.loads(orjson.dumps(completion(answer, model="m")))

    assert kept["choices"][0]["message"]["content"] == "said"


def test_an_impossible_usage_is_none() -> None:
    usage = {"prompt_tokens": 10**30, "completion_tokens": 1, "total_tokens": 10**30}

    assert completion(Raw(said("x"), usage=usage), model="m")["usage"] is None
