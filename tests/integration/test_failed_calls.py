"""What a failed call shows of itself: the status that really came, and what it cost, by the real LiteLLM over real HTTP."""

from __future__ import annotations

import socket

import pytest

from tests.support.providers import OverheardGate, StartManager, account, call, settings_of
from tests.support.sandbox import UNRESOLVABLE, SandboxProcess, refusing_port
from tests.support.waiting import eventually
from workers.providers.litellm_manager import CompletionFailed, PutBack

pytestmark = pytest.mark.anyio

FREE = 0.0
UNKNOWN = None
ANSWERED = [
    ("openai", "401", 401, FREE), ("openai", "404", 404, FREE), ("openai", "429-rate", 429, FREE),
    ("openai", "500", 500, FREE), ("openai", "529", 529, FREE), ("openai", "504", 504, UNKNOWN),
    ("openai", "408", 408, UNKNOWN), ("openai", "hang", None, UNKNOWN), ("openai", "reset", None, UNKNOWN),
    ("openai", "cut", 200, UNKNOWN), ("openai", "not-json", 200, UNKNOWN), ("openai", "error-object", 200, UNKNOWN),
    ("anthropic", "500", 500, FREE), ("anthropic", "529", 529, FREE), ("anthropic", "429", 429, FREE),
    ("anthropic", "504", 504, UNKNOWN), ("anthropic", "hang", None, UNKNOWN), ("anthropic", "reset", None, UNKNOWN),
    ("anthropic", "not-json", 200, UNKNOWN), ("anthropic", "overloaded-200", 200, UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize("answered", ANSWERED, ids=lambda one: f"{one[0]}-{one[1]}")
async def test_a_failed_attempt_shows_the_status_that_came_and_costs_nothing_where_that_is_sure(
    sandbox: SandboxProcess, start_manager: StartManager, answered: tuple[str, str, int | None, float | None]
) -> None:
    wire, preset, status, cost = answered
    gate = OverheardGate()
    first = account(sandbox, "first", kind=wire, timeout_s=0.4 if preset == "hang" else 10)
    manager = await start_manager(settings_of(first=first, second=account(sandbox, "second")), gate=gate)
    sandbox.set_faults({"preset": f"{wire}-{preset}", "match": {"instance": "first"}})
    answer = await manager.completion(call(max_tokens=100))
    failed, good = answer.attempts
    assert (failed.status, failed.cost_usd, good.status) == (status, cost, 200)
    assert answer.cost_usd == good.cost_usd
    told = {what: amount for (_, provider, _, what), amount in gate.booked.items() if provider == "first"}
    assert told["failed"] == 1
    assert told.get("maybe_billed", 0) == (cost is UNKNOWN)
    assert "unpriced" not in told
    assert (told.get("maybe_upper_usd", 0) > 0) == (cost is UNKNOWN)


@pytest.mark.parametrize("where", ["refused", "unresolvable", "no-tls"])
@pytest.mark.parametrize("wire", ["openai", "anthropic"])
async def test_a_call_that_never_left_us_has_no_status_and_costs_nothing(
    sandbox: SandboxProcess, start_manager: StartManager, where: str, wire: str
) -> None:
    held = refusing_port()
    port = held.getsockname()[1] if where == "refused" else sandbox.port
    base = UNRESOLVABLE if where == "unresolvable" else f"{'https' if where == 'no-tls' else 'http'}://127.0.0.1:{port}"
    gate = OverheardGate()
    manager = await start_manager(settings_of(only=account(sandbox, "only", kind=wire, base_url=base)), gate=gate)
    with held, pytest.raises((CompletionFailed, PutBack)) as failed:
        await manager.completion(call(within_s=5))
    assert isinstance(failed.value, CompletionFailed | PutBack)
    assert {(one.status, one.cost_usd) for one in failed.value.attempts} == {(None, FREE)}
    told = {what for (_, _, _, what), amount in gate.booked.items() if amount}
    assert "calls" in told
    assert not told & {"unpriced", "maybe_billed"}


async def test_a_call_that_finds_no_connection_in_time_costs_nothing(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for one in (
            first,
            second,
        ):  # nobody accepts them, and the line is full: the next one's handshake is not answered
            one.settimeout(0)
            one.connect_ex(full.getsockname())
        base = f"http://127.0.0.1:{full.getsockname()[1]}"
        manager = await start_manager(settings_of(only=account(sandbox, "only", base_url=base, timeout_s=0.3)))
        with pytest.raises(CompletionFailed) as failed:
            await manager.completion(call(within_s=2))
    assert {(one.outcome, one.status, one.cost_usd) for one in failed.value.attempts} == {
        ("provider_timeout", None, FREE)
    }


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
async def test_a_bad_answer_that_says_what_it_used_is_priced(
    sandbox: SandboxProcess, start_manager: StartManager, wire: str
) -> None:
    gate = OverheardGate()
    first = account(sandbox, "first", kind=wire)
    manager = await start_manager(settings_of(first=first, second=account(sandbox, "second")), gate=gate)
    sandbox.set_faults({"action": {"lie": "null-content"}, "match": {"instance": "first"}})
    answer = await manager.completion(call())
    bad, good = answer.attempts
    assert (bad.status, bad.provider) == (200, "first")
    assert bad.cost_usd is not None
    assert bad.cost_usd > 0
    assert answer.cost_usd == pytest.approx(bad.cost_usd + (good.cost_usd or 0))
    assert not {what for (_, _, _, what), amount in gate.booked.items() if amount} & {"unpriced", "maybe_billed"}


async def test_a_call_that_is_stopped_may_have_been_billed_up_to_what_it_may_cost(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    gate = OverheardGate()
    manager = await start_manager(settings_of(only=account(sandbox, "only")), gate=gate)
    sandbox.set_faults({"preset": "openai-hang"})
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call(within_s=0.5, max_tokens=1_000))
    assert failed.value.attempts[-1].status is None
    await eventually(lambda: bool(gate.booked), within_s=5, what="the call is booked")
    told = {what: amount for (_, _, _, what), amount in gate.booked.items()}
    assert told["maybe_billed"] == 1
    assert told["maybe_upper_usd"] == pytest.approx((len("What is a harbour?") * 1.0 + 1_000 * 2.0) / 1e6)
