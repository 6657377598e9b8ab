"""What the manager gives and to whom it goes: results, usage, cost, parameters, candidates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from infrastructure.core.config_core.sections import CostTracking
from tests.support.providers import StartManager, account, call, requests, settings_of, text_of
from tests.support.sandbox import UNRESOLVABLE, SandboxProcess
from workers.providers.litellm_manager import CompletionFailed
from workers.providers.sandbox.answers import proof

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
async def test_both_wires_give_a_plain_completion_with_usage_and_cost(
    sandbox: SandboxProcess, start_manager: StartManager, wire: str
) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only", kind=wire)))
    answer = await manager.completion(call("How long is the pier?", max_tokens=500))
    assert answer.usage is not None
    assert answer.cost_usd is not None
    expected = (answer.usage["prompt_tokens"] * 1.0 + answer.usage["completion_tokens"] * 2.0) / 1e6
    assert answer.cost_usd == pytest.approx(expected)
    assert answer.cost_usd > 0
    assert set(answer.result) <= {
        "id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"
    }  # fmt: skip
    assert answer.result["object"] == "chat.completion"
    assert answer.result["model"] == "sandbox-small"
    assert answer.result["usage"] == answer.usage
    assert set(answer.result["choices"][0]) == {"index", "message", "logprobs", "finish_reason"}
    assert set(answer.result["choices"][0]["message"]) == {"role", "content"}
    assert proof("How long is the pier?") in text_of(answer)


async def test_without_a_configured_price_litellms_table_prices_and_an_unknown_model_has_no_cost(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only", prices={})))
    known = await manager.completion(call(model="only/gpt-4o-mini"))
    assert known.usage is not None
    table = (known.usage["prompt_tokens"] * 0.15 + known.usage["completion_tokens"] * 0.6) / 1e6
    assert known.cost_usd == pytest.approx(table)
    unknown = await manager.completion(call(model="only/nobody-prices-this"))
    assert unknown.usage is not None
    assert unknown.cost_usd is None
    assert unknown.attempts[0].cost_usd is None


async def test_a_bad_answer_that_was_billed_is_part_of_the_cost(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    accounts = {name: account(sandbox, name) for name in ("first", "second")}
    manager = await start_manager(settings_of(**accounts))
    sandbox.set_faults({"preset": "openai-empty-content", "match": {"instance": "first"}})
    answer = await manager.completion(call())
    costs = [attempt.cost_usd for attempt in answer.attempts]
    assert all(cost and cost > 0 for cost in costs)
    assert answer.cost_usd == pytest.approx(sum(cost or 0 for cost in costs))


async def test_tools_and_a_system_message_survive_a_failover_to_the_other_wire(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    first = account(sandbox, "first", kind="anthropic")
    manager = await start_manager(settings_of(first=first, second=account(sandbox, "second")))
    sandbox.set_faults({"preset": "anthropic-529", "match": {"instance": "first"}})
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    one = call("Look!", tools=[tool], tool_choice="required")
    one.params["messages"].insert(0, {"role": "system", "content": "You look."})
    before = repr(one.params)
    answer = await manager.completion(one)
    assert answer.provider == "second"
    assert answer.result["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "look"
    assert repr(one.params) == before


async def test_only_listed_parameters_reach_litellm(sandbox: SandboxProcess, start_manager: StartManager) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only")))
    steering: dict[str, Any] = {"api_base": UNRESOLVABLE, "api_key": "x", "mock_response": "free", "custom_llm_provider": "azure",
                "extra_headers": {"x": "y"}, "extra_body": {"x": "y"}}  # fmt: skip
    answer = await manager.completion(call("Who?", **steering))
    assert proof("Who?") in text_of(answer)
    assert requests(sandbox, "only") == 1


PARAMETERS: dict[str, Any] = {
    "frequency_penalty": 0.1, "logit_bias": {"1": 5.0}, "logprobs": True, "max_completion_tokens": 9,
    "modalities": ["text"], "n": 2, "parallel_tool_calls": False, "prediction": {"type": "content", "content": "x"},
    "presence_penalty": 0.1, "prompt_cache_key": "k", "prompt_cache_retention": "24h", "reasoning_effort": "low",
    "response_format": {"type": "json_object"}, "safety_identifier": "s", "seed": 1, "service_tier": "flex",
    "stop": ["x"], "store": False, "temperature": 0.3, "tool_choice": "auto",
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    "top_logprobs": 2, "top_p": 0.5, "user": "u", "web_search_options": {"search_context_size": "low"},
}  # fmt: skip


async def test_every_parameter_reaches_an_openai_provider_unchanged_and_nothing_beside_them(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    bodies: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        message = {"role": "assistant", "content": "text"}
        return web.json_response({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with TestServer(app) as server:
        only = account(sandbox, "only", base_url=str(server.make_url("/v1")))
        manager = await start_manager(settings_of(only=only))
        answered = await manager.completion(call("Who?", **PARAMETERS))
    assert bodies == [
        {"model": "sandbox-small", "messages": [{"role": "user", "content": "Who?"}], **PARAMETERS},
    ]
    assert (answered.usage, answered.cost_usd) == (None, None)


async def test_a_provider_that_allows_fewer_tokens_is_passed_over(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    small = account(sandbox, "small", max_tokens=10)
    manager = await start_manager(settings_of(small=small, large=account(sandbox, "large")))
    assert (await manager.completion(call(max_tokens=11))).provider == "large"
    assert (await manager.completion(call(max_completion_tokens=10))).provider == "small"
    manager = await start_manager(settings_of(small=small))
    with pytest.raises(CompletionFailed, match="at most 10") as failed:
        await manager.completion(call(max_tokens=11))
    assert failed.value.job_code == "no_candidate"


async def test_a_model_that_the_configuration_no_longer_has_is_no_candidate(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only")))
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call(model="gone"))
    assert (failed.value.job_code, failed.value.attempts) == ("no_candidate", ())


async def test_an_unsupported_parameter_goes_to_the_next_candidate_and_else_fails(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    first = account(sandbox, "first", kind="anthropic")
    manager = await start_manager(settings_of(first=first, second=account(sandbox, "second")))
    assert (await manager.completion(call(logit_bias={"1": 5.0}))).provider == "second"
    manager = await start_manager(settings_of(first=first))
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call(logit_bias={"1": 5.0}))
    assert failed.value.job_code == "unsupported_parameter"
    assert requests(sandbox, "first") == 0


async def test_where_cost_tracking_is_off_nothing_is_priced_and_a_call_goes_by_the_settings_it_brings(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    settings = settings_of(only=account(sandbox, "only"))
    manager = await start_manager(settings)
    unpriced = settings.model_copy(update={"version": "other", "cost_tracking": CostTracking(enabled=False)})

    answer = await manager.completion(replace(call(), settings=unpriced))

    assert answer.usage is not None
    assert (answer.cost_usd, answer.attempts[0].cost_usd) == (None, None)
    assert (await manager.completion(call())).cost_usd is not None
