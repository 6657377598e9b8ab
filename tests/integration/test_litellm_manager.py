"""The manager, through the real LiteLLM over real HTTP, against every answer a provider is known to give."""

from __future__ import annotations

import pytest

from tests.support.providers import OverheardGate, StartManager, account, call, requests, settings_of, text_of
from tests.support.sandbox import UNRESOLVABLE, SandboxProcess, refusing_port
from workers.jobs.gate.models import Verdict
from workers.providers.classify import Kind
from workers.providers.litellm_manager import CompletionFailed, PutBack
from workers.providers.sandbox.answers import proof

pytestmark = pytest.mark.anyio

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
# What is said of the provider, where it is not what the outcome says by itself.
VERDICTS = {"content-filter": Verdict.ALIVE}
ANSWERS = [("openai", name) for name in OPENAI] + [("anthropic", name) for name in ANTHROPIC]


@pytest.mark.parametrize(("wire", "preset"), ANSWERS)
async def test_each_answer_of_a_provider_leads_to_its_action_with_one_request_an_attempt(
    sandbox: SandboxProcess, start_manager: StartManager, wire: str, preset: str
) -> None:
    outcome, fails_over = (OPENAI if wire == "openai" else ANTHROPIC)[preset]
    other = "anthropic" if wire == "openai" else "openai"
    first = account(sandbox, "first", kind=wire, timeout_s=0.3 if preset == "hang" else 10)
    gate = OverheardGate()
    manager = await start_manager(settings_of(first=first, second=account(sandbox, "second", kind=other)), gate=gate)
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
    assert [(one.provider, one.verdict) for one in gate.ended] == [
        ("first", VERDICTS.get(preset, Kind(outcome).verdict)), *[("second", Verdict.GOOD)] * fails_over
    ]  # fmt: skip
    assert gate.left_open() == set()


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
@pytest.mark.parametrize("where", ["refused", "unresolvable"])
async def test_a_provider_that_cannot_be_reached_is_passed_over(
    sandbox: SandboxProcess, start_manager: StartManager, wire: str, where: str
) -> None:
    held = refusing_port()
    base = f"http://127.0.0.1:{held.getsockname()[1]}" if where == "refused" else UNRESOLVABLE
    first = account(sandbox, "first", kind=wire, base_url=base)
    manager = await start_manager(settings_of(first=first, second=account(sandbox, "second")))
    answer = await manager.completion(call())
    held.close()
    assert [attempt.outcome for attempt in answer.attempts] == ["provider_unavailable", "ok"]


ONE_REQUEST = [name for name, (outcome, _) in OPENAI.items() if outcome not in {"provider_unavailable", "rate_limited"}]


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
async def test_an_unavailable_last_candidate_is_asked_twice_and_waited_for_as_long_as_the_deadline_allows(
    sandbox: SandboxProcess, start_manager: StartManager, wire: str
) -> None:
    for preset in ("500", "reset"):
        for within_s in (20, 0.9):
            manager = await start_manager(settings_of(only=account(sandbox, "only", kind=wire)))
            sandbox.reset()
            sandbox.set_faults({"preset": f"{wire}-{preset}"})
            with pytest.raises((PutBack, CompletionFailed)) as ended:
                await manager.completion(call(within_s=within_s))
            end = ended.value
            assert isinstance(end, (PutBack, CompletionFailed))
            assert [one.outcome for one in end.attempts] == ["provider_unavailable"] * 2
            assert requests(sandbox, "only") == 2
            if isinstance(end, PutBack):
                assert 1_000 <= end.wait_ms <= 1_200 <= 1_000 * within_s
            else:
                assert (end.job_code, end.cost_usd, within_s) == (
                    "provider_unavailable",
                    0.0 if preset == "500" else None,
                    0.9,
                )


@pytest.mark.parametrize("preset", [name for name in ONE_REQUEST if name != "hang"])
async def test_any_other_failure_of_the_last_candidate_ends_the_job_after_one_request(
    sandbox: SandboxProcess, start_manager: StartManager, preset: str
) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only")))
    sandbox.set_faults({"preset": f"openai-{preset}"})
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call())
    assert failed.value.job_code == OPENAI[preset][0]
    assert requests(sandbox, "only") == 1


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [("0", None), ("minus-5", None), ("garbage", None), ("7", 7), ("60", 60), ("61", 61), ("date", 20),
     ("1000000000", 3_600)],
)  # fmt: skip
async def test_a_throttled_last_candidate_is_waited_for_a_moment_and_longer_out_of_the_way(
    sandbox: SandboxProcess, start_manager: StartManager, header: str, wait_s: float | None
) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only")))
    sandbox.set_faults({"preset": f"openai-429-retry-after-{header}", "times": 1})
    if wait_s is None:
        answer = await manager.completion(call())
        assert [attempt.outcome for attempt in answer.attempts] == ["rate_limited", "ok"]
        return
    with pytest.raises(PutBack) as aside:
        await manager.completion(call(within_s=10_000))
    assert [attempt.outcome for attempt in aside.value.attempts] == ["rate_limited"]
    assert wait_s - 2 <= aside.value.wait_ms / 1_000 <= 1.2 * wait_s
    with pytest.raises(PutBack) as again:
        await manager.completion(call(within_s=10_000))
    assert again.value.attempts == ()
    assert requests(sandbox, "only") == 1


@pytest.mark.parametrize("header", ["7", "date"])
async def test_a_retry_after_beyond_the_deadline_ends_the_job_and_says_when(
    sandbox: SandboxProcess, start_manager: StartManager, header: str
) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only")))
    sandbox.set_faults({"preset": f"openai-429-retry-after-{header}"})
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call(within_s=5))
    assert failed.value.job_code == "rate_limited"
    assert failed.value.retry_after_s == pytest.approx(7 if header == "7" else 20, abs=2)
