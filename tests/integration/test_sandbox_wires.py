"""The sandbox's two wire formats over HTTP, read by a stock client or by hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import APIStatusError, AsyncOpenAI

from tests.support.sandbox import SandboxProcess
from workers.providers.sandbox.answers import proof, prose

pytestmark = pytest.mark.anyio

QUESTION: Any = [{"role": "user", "content": "How many legs have three spiders?"}]
PROMPT = QUESTION[0]["content"]
ANTHROPIC = {"x-api-key": "any", "anthropic-version": "2023-06-01"}


@pytest.fixture
async def client(sandbox: SandboxProcess) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=sandbox.v1, api_key="any", max_retries=0) as made:
        yield made


@pytest.fixture
async def http(sandbox: SandboxProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=sandbox.url) as made:
        yield made


def messages_body(**extra: Any) -> dict[str, Any]:
    return {"model": "sandbox-claude", "max_tokens": 200, "messages": QUESTION, **extra}


async def test_the_openai_client_reads_a_whole_answer(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="sandbox-small", messages=QUESTION)
    assert answer.model == "sandbox-small"
    assert answer.choices[0].message.content == prose(PROMPT)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == -(-len(PROMPT) // 4)
    assert answer.usage.completion_tokens == -(-len(prose(PROMPT)) // 4)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_the_openai_client_reads_a_streamed_answer_with_usage(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="sandbox-small", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(said) == prose(PROMPT)
    assert len(said) > 5
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == -(-len(prose(PROMPT)) // 4)


async def test_a_stream_carries_usage_only_where_it_is_asked_for(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="sandbox-small", messages=QUESTION, stream=True)
    assert [chunk.usage async for chunk in stream if chunk.usage is not None] == []


async def test_several_choices_arrive_whole_and_streamed(client: AsyncOpenAI) -> None:
    expected = [prose(PROMPT, index=index) for index in range(3)]
    answer = await client.chat.completions.create(model="sandbox-small", messages=QUESTION, n=3)
    assert [choice.message.content for choice in answer.choices] == expected
    said = ["", "", ""]
    async for chunk in await client.chat.completions.create(model="sandbox-small", messages=QUESTION, n=3, stream=True):
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
    assert said == expected


@pytest.mark.parametrize("stream", [False, True])
async def test_the_openai_client_reads_a_tool_call(client: AsyncOpenAI, stream: bool) -> None:
    parameters = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    tools: Any = [{"type": "function", "function": {"name": "look_up", "parameters": parameters}}]
    answer: Any = await client.chat.completions.create(
        model="sandbox-small", messages=QUESTION, tools=tools, tool_choice="required", stream=stream
    )
    if stream:
        calls = [call async for chunk in answer for call in chunk.choices[0].delta.tool_calls or []]
    else:
        calls = answer.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["look_up"]
    assert json.loads(calls[0].function.arguments) == {"q": proof(PROMPT)}


async def test_a_model_that_is_unknown_gets_404(client: AsyncOpenAI) -> None:
    with pytest.raises(APIStatusError) as error:
        await client.chat.completions.create(model="gpt-unknown", messages=QUESTION)
    assert error.value.status_code == 404
    assert error.value.code == "model_not_found"


async def test_the_openai_client_lists_the_models(client: AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]
    assert names == ["sandbox-small", "sandbox-large", "sandbox-claude"]


async def test_an_anthropic_message_has_the_wires_shape(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/messages", json=messages_body(system="Be brief."), headers=ANTHROPIC)
    body = response.json()
    assert response.status_code == 200
    assert (body["type"], body["role"], body["model"]) == ("message", "assistant", "sandbox-claude")
    assert body["content"] == [{"type": "text", "text": prose(PROMPT)}]
    assert (body["stop_reason"], body["stop_sequence"]) == ("end_turn", None)
    assert body["usage"]["input_tokens"] == -(-len(PROMPT) // 4) + 3
    assert body["usage"]["output_tokens"] == -(-len(prose(PROMPT)) // 4)


async def test_an_anthropic_stream_has_the_wires_events_in_order(http: httpx.AsyncClient) -> None:
    response = await http.post("/v1/messages", json=messages_body(stream=True), headers=ANTHROPIC)
    assert response.headers["content-type"] == "text/event-stream"
    events = read_events(response.text)
    kinds = [kind for kind, _ in events]
    deltas = kinds.count("content_block_delta")
    assert kinds == ["message_start", "ping", "content_block_start", *["content_block_delta"] * deltas,
                     "content_block_stop", "message_delta", "message_stop"]  # fmt: skip
    assert all(data["type"] == kind for kind, data in events)
    said = [data["delta"]["text"] for kind, data in events if kind == "content_block_delta"]
    assert "".join(said) == prose(PROMPT)
    assert events[-2][1]["usage"]["output_tokens"] == -(-len(prose(PROMPT)) // 4)


def read_events(text: str) -> list[tuple[str, dict[str, Any]]]:
    read = []
    for event in text.removesuffix("\n\n").split("\n\n"):
        kind, data = event.split("\n")
        read.append((kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return read


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "look_up"}])
async def test_an_anthropic_tool_call_has_the_wires_shape(http: httpx.AsyncClient, choice: dict[str, str]) -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}}
    body = messages_body(tools=[{"name": "look_up", "input_schema": schema}], tool_choice=choice)
    answer = (await http.post("/v1/messages", json=body, headers=ANTHROPIC)).json()
    (block,) = answer["content"]
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "look_up", {"q": proof(PROMPT)})
    assert answer["stop_reason"] == "tool_use"
    streamed = await http.post("/v1/messages", json={**body, "stream": True}, headers=ANTHROPIC)
    deltas = [data["delta"] for kind, data in read_events(streamed.text) if kind == "content_block_delta"]
    assert [json.loads(delta["partial_json"]) for delta in deltas] == [{"q": proof(PROMPT)}]


async def test_an_anthropic_answer_cut_by_max_tokens_says_so(http: httpx.AsyncClient) -> None:
    answer = (await http.post("/v1/messages", json=messages_body(max_tokens=5), headers=ANTHROPIC)).json()
    assert (answer["stop_reason"], answer["usage"]["output_tokens"]) == ("max_tokens", 5)


async def test_the_models_are_listed_in_the_shape_of_who_asks(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/v1/models", headers=ANTHROPIC)).json()
    assert [model["type"] for model in listed["data"]] == ["model"] * 3
    assert listed["first_id"] == "sandbox-small"


async def test_both_wires_and_every_instance_give_one_prompt_the_same_words(http: httpx.AsyncClient) -> None:
    chat = {"model": "m", "messages": QUESTION}
    over_openai = await http.post("/p/east/v1/chat/completions", json=chat, headers={"authorization": "Bearer any"})
    over_anthropic = await http.post("/p/west/v1/messages", json=messages_body(), headers=ANTHROPIC)
    assert over_openai.json()["choices"][0]["message"]["content"] == over_anthropic.json()["content"][0]["text"]


@pytest.mark.parametrize(
    ("path", "headers", "content", "status"),
    [
        ("/v1/chat/completions", {}, b"{}", 401),
        ("/v1/chat/completions", ANTHROPIC, b"{", 400),
        ("/v1/chat/completions", ANTHROPIC, b"[]", 400),
        ("/v1/chat/completions", ANTHROPIC, b'{"messages": [{"role": "user"}], "tools": 5, "model": "m"}', 400),
        ("/v1/other", ANTHROPIC, b"{}", 404),
        ("/v1/models", ANTHROPIC, b"{}", 404),
    ],
)
async def test_a_request_without_sense_gets_its_wires_error(
    http: httpx.AsyncClient, path: str, headers: dict[str, str], content: bytes, status: int
) -> None:
    response = await http.post(path, content=content, headers=headers)
    assert response.status_code == status
    assert response.json()["error"]["message"]


async def test_a_prompt_of_ten_megabytes_is_answered(http: httpx.AsyncClient) -> None:
    prompt = "long " * 2_000_000
    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    response = await http.post("/v1/chat/completions", json=body, headers={"authorization": "Bearer any"}, timeout=30)
    assert response.json()["choices"][0]["message"]["content"] == prose(prompt)
