"""The manager, through the real LiteLLM over real HTTP, against every answer a provider is known to give."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from infrastructure.core.config_core import Settings
from tests.support.providers import account, call, settings_of
from tests.support.sandbox import (  # noqa: F401  fixtures
    UNRESOLVABLE,
    SandboxProcess,
    refusing_port,
    sandbox,
    sandbox_process,
)
from tests.support.waiting import eventually
from workers.providers.litellm_manager import Answer, CompletionFailed, LiteLLMManager
from workers.providers.sandbox.answers import proof

pytestmark = pytest.mark.anyio
Start = Callable[[Settings], Any]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Return a way to start managers; they are closed at the end. The first of a process imports LiteLLM."""
    managers: list[LiteLLMManager] = []

    async def started(settings: Settings) -> LiteLLMManager:
        managers.append(LiteLLMManager(lambda: settings))
        await managers[-1].start()
        return managers[-1]

    yield started
    for manager in managers:
        await manager.close()


def requests(sandbox: SandboxProcess, name: str) -> int:
    """Return how many requests reached the provider `name`."""
    count: int = sandbox.counters()["by_instance"].get(name, 0)
    return count


def text_of(answer: Answer) -> str:
    text: str = answer.result["choices"][0]["message"]["content"]
    return text


# What the first candidate answers, and what becomes of the job: the code of its first attempt, whether the next
# candidate is asked. The second candidate is fine.
NEXT, FAILS = True, False
OPENAI = {
    "400": ("invalid_provider_request", FAILS), "400-context-length": ("context_window_exceeded", FAILS),
    "400-content-policy": ("content_policy_violation", FAILS), "401": ("provider_authentication", NEXT),
    "402": ("provider_quota", NEXT), "403": ("provider_permission", NEXT), "404": ("model_unavailable", NEXT),
    "408": ("provider_timeout", NEXT), "409": ("provider_unavailable", NEXT),
    "413": ("invalid_provider_request", FAILS), "422": ("invalid_provider_request", FAILS),
    "429-rate": ("rate_limited", NEXT), "429-insufficient-quota": ("provider_quota", NEXT),
    "500": ("provider_unavailable", NEXT), "502": ("provider_unavailable", NEXT),
    "503": ("provider_unavailable", NEXT), "504": ("provider_timeout", NEXT), "529": ("provider_unavailable", NEXT),
    "hang": ("provider_timeout", NEXT), "reset": ("provider_unavailable", NEXT),
    "cut": ("provider_unavailable", NEXT), "not-json": ("provider_unavailable", NEXT),
    "empty-object": ("provider_unavailable", NEXT), "error-object": ("provider_unavailable", NEXT),
    "no-choices": ("bad_answer", NEXT), "null-content": ("bad_answer", NEXT),
    "empty-content": ("bad_answer", NEXT), "content-filter": ("bad_answer", NEXT),
}  # fmt: skip
ANTHROPIC = {
    "400": ("invalid_provider_request", FAILS), "400-prompt-too-long": ("context_window_exceeded", FAILS),
    "400-credit-balance": ("provider_quota", NEXT), "401": ("provider_authentication", NEXT),
    "403": ("provider_permission", NEXT), "404": ("model_unavailable", NEXT),
    "413": ("invalid_provider_request", FAILS), "429": ("rate_limited", NEXT),
    "500": ("provider_unavailable", NEXT), "503": ("provider_unavailable", NEXT), "504": ("provider_timeout", NEXT),
    "529": ("provider_unavailable", NEXT), "overloaded-200": ("provider_unavailable", NEXT),
    "not-json": ("provider_unavailable", NEXT), "hang": ("provider_timeout", NEXT),
    "reset": ("provider_unavailable", NEXT),
}  # fmt: skip
ANSWERS = [("openai", name, *rest) for name, rest in OPENAI.items()] + [
    ("anthropic", name, *rest) for name, rest in ANTHROPIC.items()
]


@pytest.mark.parametrize(("wire", "preset", "outcome", "fails_over"), ANSWERS)
async def test_each_answer_of_a_provider_leads_to_its_action_with_one_request_an_attempt(
    sandbox: SandboxProcess, start: Start, wire: str, preset: str, outcome: str, fails_over: bool
) -> None:
    other = "anthropic" if wire == "openai" else "openai"
    first = account(sandbox, "first", kind=wire, timeout_s=0.3 if preset == "hang" else 10)
    manager = await start(settings_of(first=first, second=account(sandbox, "second", kind=other)))
    sandbox.set_faults({"preset": f"{wire}-{preset}", "match": {"instance": "first"}})
    if fails_over:
        answer = await manager.completion(call("Why is it so?"))
        assert proof("Why is it so?") in text_of(answer)
        attempts = answer.attempts
        assert (answer.provider, attempts[1].outcome, attempts[1].status) == ("second", "ok", 200)
    else:
        with pytest.raises(CompletionFailed) as failed:
            await manager.completion(call())
        assert failed.value.job_code == outcome
        attempts = failed.value.attempts
    assert attempts[0].outcome == outcome
    assert requests(sandbox, "first") == 1
    assert requests(sandbox, "second") == int(fails_over)


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
@pytest.mark.parametrize("where", ["refused", "unresolvable"])
async def test_a_provider_that_cannot_be_reached_is_passed_over(
    sandbox: SandboxProcess, start: Start, wire: str, where: str
) -> None:
    held = refusing_port()
    base = f"http://127.0.0.1:{held.getsockname()[1]}" if where == "refused" else UNRESOLVABLE
    first = account(sandbox, "first", kind=wire, base_url=base)
    manager = await start(settings_of(first=first, second=account(sandbox, "second")))
    answer = await manager.completion(call())
    held.close()
    assert [attempt.outcome for attempt in answer.attempts] == ["provider_unavailable", "ok"]


ONE_REQUEST = [name for name, (outcome, _) in OPENAI.items() if outcome not in {"provider_unavailable", "rate_limited"}]


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
async def test_an_unavailable_last_candidate_is_asked_twice_and_no_more(
    sandbox: SandboxProcess, start: Start, wire: str
) -> None:
    manager = await start(settings_of(only=account(sandbox, "only", kind=wire)))
    for preset in ("500", "reset"):
        sandbox.reset()
        sandbox.set_faults({"preset": f"{wire}-{preset}"})
        with pytest.raises(CompletionFailed) as failed:
            await manager.completion(call())
        assert (failed.value.job_code, len(failed.value.attempts)) == ("provider_unavailable", 2)
        assert requests(sandbox, "only") == 2
        assert failed.value.cost_usd is None


@pytest.mark.parametrize("preset", [name for name in ONE_REQUEST if name != "hang"])
async def test_any_other_failure_of_the_last_candidate_ends_the_job_after_one_request(
    sandbox: SandboxProcess, start: Start, preset: str
) -> None:
    manager = await start(settings_of(only=account(sandbox, "only")))
    sandbox.set_faults({"preset": f"openai-{preset}"})
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call())
    assert failed.value.job_code == OPENAI[preset][0]
    assert requests(sandbox, "only") == 1


@pytest.mark.parametrize(
    ("header", "retry_after_s", "waits"),
    [("0", 0, True), ("minus-5", 0, True), ("garbage", None, True), ("60", 60, False), ("61", 61, False),
     ("1000000000", 3_600, False)],
)  # fmt: skip
async def test_a_throttled_last_candidate_is_waited_for_only_as_long_as_it_may(
    sandbox: SandboxProcess, start: Start, header: str, retry_after_s: float | None, waits: bool
) -> None:
    manager = await start(settings_of(only=account(sandbox, "only")))
    sandbox.set_faults({"preset": f"openai-429-retry-after-{header}", "times": 1})
    if waits:
        answer = await manager.completion(call())
        assert [attempt.outcome for attempt in answer.attempts] == ["rate_limited", "ok"]
        return
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call(within_s=1_000))
    assert (failed.value.job_code, failed.value.retry_after_s) == ("rate_limited", retry_after_s)
    assert requests(sandbox, "only") == 1


@pytest.mark.parametrize("header", ["7", "date"])
async def test_a_retry_after_beyond_the_deadline_ends_the_job_and_says_when(
    sandbox: SandboxProcess, start: Start, header: str
) -> None:
    manager = await start(settings_of(only=account(sandbox, "only")))
    sandbox.set_faults({"preset": f"openai-429-retry-after-{header}"})
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call(within_s=5))
    assert failed.value.job_code == "rate_limited"
    assert failed.value.retry_after_s == pytest.approx(7 if header == "7" else 20, abs=2)


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
async def test_both_wires_give_a_plain_completion_with_usage_and_cost(
    sandbox: SandboxProcess, start: Start, wire: str
) -> None:
    manager = await start(settings_of(only=account(sandbox, "only", kind=wire)))
    answer = await manager.completion(call("How long is the pier?", max_tokens=500))
    assert answer.usage is not None
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
    sandbox: SandboxProcess, start: Start
) -> None:
    manager = await start(settings_of(only=account(sandbox, "only", prices={})))
    known = await manager.completion(call(model="only/gpt-4o-mini"))
    assert known.usage is not None
    table = (known.usage["prompt_tokens"] * 0.15 + known.usage["completion_tokens"] * 0.6) / 1e6
    assert known.cost_usd == pytest.approx(table)
    unknown = await manager.completion(call(model="only/nobody-prices-this"))
    assert unknown.usage is not None
    assert unknown.cost_usd is None
    assert unknown.attempts[0].cost_usd is None


async def test_a_bad_answer_that_was_billed_is_part_of_the_cost(sandbox: SandboxProcess, start: Start) -> None:
    accounts = {name: account(sandbox, name) for name in ("first", "second")}
    manager = await start(settings_of(**accounts))
    sandbox.set_faults({"preset": "openai-empty-content", "match": {"instance": "first"}})
    answer = await manager.completion(call())
    costs = [attempt.cost_usd for attempt in answer.attempts]
    assert all(cost and cost > 0 for cost in costs)
    assert answer.cost_usd == pytest.approx(sum(cost or 0 for cost in costs))


async def test_tools_and_a_system_message_survive_a_failover_to_the_other_wire(
    sandbox: SandboxProcess, start: Start
) -> None:
    first = account(sandbox, "first", kind="anthropic")
    manager = await start(settings_of(first=first, second=account(sandbox, "second")))
    sandbox.set_faults({"preset": "anthropic-529", "match": {"instance": "first"}})
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    one = call("Look!", tools=[tool], tool_choice="required")
    one.params["messages"].insert(0, {"role": "system", "content": "You look."})
    before = repr(one.params)
    answer = await manager.completion(one)
    assert answer.provider == "second"
    assert answer.result["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "look"
    assert repr(one.params) == before


async def test_only_listed_parameters_reach_litellm(sandbox: SandboxProcess, start: Start) -> None:
    manager = await start(settings_of(only=account(sandbox, "only")))
    steering = {"api_base": UNRESOLVABLE, "api_key": "x", "mock_response": "free", "custom_llm_provider": "azure",
                "extra_headers": {"x": "y"}, "extra_body": {"x": "y"}}  # fmt: skip
    answer = await manager.completion(call("Who?", **steering))
    assert proof("Who?") in text_of(answer)
    assert requests(sandbox, "only") == 1


async def test_a_provider_that_allows_fewer_tokens_is_passed_over(sandbox: SandboxProcess, start: Start) -> None:
    small = account(sandbox, "small", max_tokens=10)
    manager = await start(settings_of(small=small, large=account(sandbox, "large")))
    assert (await manager.completion(call(max_tokens=11))).provider == "large"
    assert (await manager.completion(call(max_completion_tokens=10))).provider == "small"
    manager = await start(settings_of(small=small))
    with pytest.raises(CompletionFailed, match="at most 10") as failed:
        await manager.completion(call(max_tokens=11))
    assert failed.value.job_code == "no_candidate"


async def test_a_model_that_the_configuration_no_longer_has_is_no_candidate(
    sandbox: SandboxProcess, start: Start
) -> None:
    manager = await start(settings_of(only=account(sandbox, "only")))
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call(model="gone"))
    assert (failed.value.job_code, failed.value.attempts) == ("no_candidate", ())


async def test_an_unsupported_parameter_goes_to_the_next_candidate_and_else_fails(
    sandbox: SandboxProcess, start: Start
) -> None:
    first = account(sandbox, "first", kind="anthropic")
    manager = await start(settings_of(first=first, second=account(sandbox, "second")))
    assert (await manager.completion(call(logit_bias={"1": 5.0}))).provider == "second"
    manager = await start(settings_of(first=first))
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call(logit_bias={"1": 5.0}))
    assert failed.value.job_code == "unsupported_parameter"
    assert requests(sandbox, "first") == 0


async def test_the_deadline_ends_a_call_that_hangs(sandbox: SandboxProcess, start: Start) -> None:
    manager = await start(settings_of(first=account(sandbox, "first"), second=account(sandbox, "second")))
    sandbox.set_faults({"preset": "openai-hang"})
    started = time.monotonic()
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call(within_s=0.4))
    assert time.monotonic() - started < 2
    assert failed.value.job_code == "deadline_exceeded"
    assert len(failed.value.attempts) == 1
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call(within_s=-1))
    assert (failed.value.job_code, failed.value.attempts) == ("deadline_exceeded", ())


async def test_a_body_that_drips_is_ended_at_the_providers_timeout(sandbox: SandboxProcess, start: Start) -> None:
    manager = await start(settings_of(only=account(sandbox, "only", timeout_s=0.5)))
    sandbox.set_faults({"action": {"slow_body_s": 5}})
    started = time.monotonic()
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call())
    assert failed.value.job_code == "provider_timeout"
    assert time.monotonic() - started < 2


async def test_a_cancelled_call_ends_at_once_and_leaves_no_connection(sandbox: SandboxProcess, start: Start) -> None:
    manager = await start(settings_of(only=account(sandbox, "only")))
    sandbox.set_faults({"preset": "openai-hang"})
    tasks = [asyncio.create_task(manager.completion(call(f"{number}"))) for number in range(20)]
    await eventually(lambda: sandbox.counters()["in_flight"] == 20, what="all calls at the provider")
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    await eventually(lambda: sandbox.counters()["in_flight"] == 0, within_s=5, what="no call at the provider")


async def test_keys_and_addresses_in_the_environment_are_ignored(
    sandbox: SandboxProcess, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_API_KEY", "from-the-environment")
        monkeypatch.setenv(f"{name}_BASE_URL", UNRESOLVABLE)
        monkeypatch.setenv(f"{name}_API_BASE", UNRESOLVABLE)
    sandbox.set_faults({"preset": "openai-401", "match": {"header": {"authorization": "*environment*"}}})
    keyless = account(sandbox, "first", api_key=None, needs_key=False)
    manager = await start(settings_of(first=keyless))
    assert (await manager.completion(call())).provider == "first"
    manager = await start(settings_of(second=account(sandbox, "second", kind="anthropic")))
    assert (await manager.completion(call())).provider == "second"


async def test_secrets_in_a_providers_error_do_not_come_out(
    sandbox: SandboxProcess, start: Start, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    text = (
        "Incorrect API key sandbox-key-of-only, also Bearer abc.def.ghi and sk-live-0123456789abcdef, "
        "see https://me:hunter2@provider.test/x?token=t0k3n"
    )
    sandbox.set_faults({"action": {"status": 400, "error": {"message": text}}})
    manager = await start(settings_of(only=account(sandbox, "only")))
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call("my secret prompt"))
    assert failed.value.message.startswith("only/sandbox-small: Incorrect API key [redacted], also Bearer [redacted]")
    shown = failed.value.message + str(failed.value) + caplog.text + "".join(capfd.readouterr())
    for secret in ("sandbox-key-of-only", "abc.def.ghi", "0123456789abcdef", "hunter2", "t0k3n", "my secret prompt"):
        assert secret not in shown


async def test_six_hundred_calls_are_in_flight_at_once(sandbox: SandboxProcess, start: Start) -> None:
    manager = await start(settings_of(only=account(sandbox, "only")))
    sandbox.set_faults({"action": {"latency_s": 4}})
    answers = await asyncio.gather(*(manager.completion(call(f"question {number}")) for number in range(600)))
    assert all(proof(f"question {number}") in text_of(answer) for number, answer in enumerate(answers))
    assert sandbox.counters()["peak_in_flight"] == 600


async def test_timeouts_that_differ_share_one_pool_of_connections(sandbox: SandboxProcess, start: Start) -> None:
    manager = await start(settings_of(only=account(sandbox, "only")))
    for number in range(5):
        await manager.completion(call(within_s=10 + number))
    pid, port = os.getpid(), sandbox.port
    assert _connections(pid, port) == 1
    await manager.close()
    await eventually(lambda: _connections(pid, port) == 0, within_s=5, what="closed connections")
    gc.collect()


def _connections(pid: int, port: int) -> int:
    import psutil

    found = psutil.Process(pid).net_connections("tcp")
    return sum(1 for one in found if one.raddr and one.raddr.port == port and one.status == "ESTABLISHED")
