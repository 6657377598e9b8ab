"""The guide's own events of a completion, as the service writes them."""

from __future__ import annotations

import pytest

from tests.support.logs import caught_log
from tests.support.providers import StartManager, account, call, settings_of
from tests.support.sandbox import SandboxProcess

pytestmark = pytest.mark.anyio


async def test_a_success_is_told_with_the_guides_fields(sandbox: SandboxProcess, start_manager: StartManager) -> None:
    manager = await start_manager(settings_of(first=account(sandbox, "first")))
    with caught_log() as log:
        answer = await manager.completion(call())
    (line,) = [line for line in log.lines if line["context"].get("event") == "ai_completion_success"]
    assert (line["level"], line["message"], line["module"]) == ("INFO", "AI completion successful", "litellm_manager")
    context = line["context"]
    assert context.pop("response_time_ms") > 0
    assert context == {
        "event": "ai_completion_success",
        "operation": "ai_completion",
        "provider": "first",
        "model": "sandbox-small",
        "cost": answer.cost_usd,
        "cost_estimate": answer.cost_usd,
        "tokens": answer.usage["total_tokens"] if answer.usage else None,
        "job_id": "job_test",
    }


async def test_a_failure_and_its_failover_are_told_with_the_guides_fields(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    first, second = account(sandbox, "first"), account(sandbox, "second")
    manager = await start_manager(settings_of(first=first, second=second))
    sandbox.set_faults({"preset": "openai-500", "times": 1})
    with caught_log() as log:
        assert (await manager.completion(call())).provider == "second"
    failed, failover, succeeded = log.lines
    assert (failed["level"], failed["message"]) == ("ERROR", "Provider completion failed")
    assert failed["context"]["provider"] == "first"
    assert failed["context"]["error_type"] == "InternalServerError"
    assert (failed["context"]["retry_count"], failed["context"]["will_failover"]) == (0, True)
    context = failover["context"]
    assert context.pop("failover_time_ms") > 0
    assert context == {
        "event": "provider_failover",
        "from_provider": "first",
        "to_provider": "second",
        "reason": "provider_unavailable",
        "job_id": "job_test",
    }
    assert succeeded["context"]["provider"] == "second"
