"""The manager's calls under way: deadlines, cancels, many at once, connections, secrets."""

from __future__ import annotations

import asyncio
import os
import time

import psutil
import pytest

from tests.support.machine import in_time
from tests.support.providers import StartManager, account, call, settings_of, text_of
from tests.support.sandbox import UNRESOLVABLE, SandboxProcess
from tests.support.waiting import eventually
from workers.providers.litellm_manager import CompletionFailed
from workers.providers.sandbox.answers import proof

pytestmark = pytest.mark.anyio


async def test_the_deadline_ends_a_call_that_hangs(sandbox: SandboxProcess, start_manager: StartManager) -> None:
    manager = await start_manager(settings_of(first=account(sandbox, "first"), second=account(sandbox, "second")))
    sandbox.set_faults({"preset": "openai-hang"})
    started = time.monotonic()
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call(within_s=1.5))
    assert in_time(time.monotonic() - started, 3)
    assert failed.value.job_code == "deadline_exceeded"
    assert len(failed.value.attempts) == 1
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call(within_s=-1))
    assert (failed.value.job_code, failed.value.attempts) == ("deadline_exceeded", ())


async def test_a_body_that_drips_is_ended_at_the_providers_timeout(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only", timeout_s=0.5)))
    sandbox.set_faults({"action": {"slow_body_s": 5}})
    started = time.monotonic()
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call())
    assert failed.value.job_code == "provider_timeout"
    assert in_time(time.monotonic() - started, 2)


async def test_a_cancelled_call_ends_at_once_and_leaves_no_connection(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only")))
    sandbox.set_faults({"preset": "openai-hang"})
    tasks = [asyncio.create_task(manager.completion(call(f"{number}"))) for number in range(20)]
    await eventually(lambda: sandbox.counters()["in_flight"] == 20, what="all calls at the provider")
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    await eventually(lambda: sandbox.counters()["in_flight"] == 0, within_s=5, what="no call at the provider")


async def test_keys_and_addresses_in_the_environment_are_ignored(
    sandbox: SandboxProcess, start_manager: StartManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_API_KEY", "from-the-environment")
        monkeypatch.setenv(f"{name}_BASE_URL", UNRESOLVABLE)
        monkeypatch.setenv(f"{name}_API_BASE", UNRESOLVABLE)
    sandbox.set_faults({"preset": "openai-401", "match": {"header": {"authorization": "*environment*"}}})
    keyless = account(sandbox, "first", api_key=None, needs_key=False)
    manager = await start_manager(settings_of(first=keyless))
    assert (await manager.completion(call())).provider == "first"
    manager = await start_manager(settings_of(second=account(sandbox, "second", kind="anthropic")))
    assert (await manager.completion(call())).provider == "second"


async def test_secrets_in_a_providers_error_do_not_come_out(
    sandbox: SandboxProcess,
    start_manager: StartManager,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = (
        "Incorrect API key sandbox-key-of-only, also Bearer abc.def.ghi and sk-live-0123456789abcdef, "
        "see https://me:hunter2@provider.test/x?token=t0k3n"
    )
    sandbox.set_faults({"action": {"status": 400, "error": {"message": text}}})
    manager = await start_manager(settings_of(only=account(sandbox, "only")))
    with pytest.raises(CompletionFailed) as failed:
        await manager.completion(call("my secret prompt"))
    assert failed.value.message.startswith("only/sandbox-small: Incorrect API key [redacted], also Bearer [redacted]")
    shown = failed.value.message + str(failed.value) + caplog.text + "".join(capfd.readouterr())
    for secret in ("sandbox-key-of-only", "abc.def.ghi", "0123456789abcdef", "hunter2", "t0k3n", "my secret prompt"):
        assert secret not in shown


async def test_six_hundred_calls_are_in_flight_at_once(sandbox: SandboxProcess, start_manager: StartManager) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only")))
    sandbox.set_faults({"action": {"latency_s": 6}})
    answers = await asyncio.gather(
        *(manager.completion(call(f"question {number}", within_s=120)) for number in range(600))
    )
    assert all(proof(f"question {number}") in text_of(answer) for number, answer in enumerate(answers))
    assert sandbox.counters()["peak_in_flight"] == 600


async def test_timeouts_that_differ_share_one_pool_of_connections(
    sandbox: SandboxProcess, start_manager: StartManager
) -> None:
    manager = await start_manager(settings_of(only=account(sandbox, "only")))
    for number in range(5):
        await manager.completion(call(within_s=10 + number))
    pid, port = os.getpid(), sandbox.port
    assert _connections(pid, port) == 1
    await manager.close()
    await eventually(lambda: _connections(pid, port) == 0, within_s=5, what="closed connections")


def _connections(pid: int, port: int) -> int:
    found = psutil.Process(pid).net_connections("tcp")
    return sum(1 for one in found if one.raddr and one.raddr.port == port and one.status == "ESTABLISHED")
