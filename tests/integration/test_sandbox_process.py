"""The sandbox as a process: many calls at once, counters, latency, start and stop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import psutil
import pytest

from tests.support.machine import in_time
from tests.support.sandbox import ROOT, SandboxProcess
from tests.support.waiting import eventually, wait_for
from workers.providers.sandbox.answers import proof, prose
from workers.providers.sandbox.asked import Message, conversation_digest

pytestmark = pytest.mark.anyio

HEADERS = {"authorization": "Bearer any"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=HEADERS) as made:
        yield made


@pytest.fixture
def start() -> Iterator[Callable[..., SandboxProcess]]:
    """Start sandboxes with options of their own; all are gone after the test."""
    started: list[SandboxProcess] = []

    def begin(*options: str) -> SandboxProcess:
        started.append(SandboxProcess(*options).start())
        return started[-1]

    yield begin
    for process in started:
        process.remove()


async def ask(session: aiohttp.ClientSession, base: str, prompt: str, *, model: str = "m") -> str:
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    async with session.post(f"{base}/v1/chat/completions", json=body) as response:
        answer: str = (await response.json())["choices"][0]["message"]["content"]
        return answer


async def test_200_concurrent_calls_are_counted_exactly_and_answered_each_its_own(
    sandbox: SandboxProcess, session: aiohttp.ClientSession
) -> None:
    sandbox.set_faults({"action": {"latency_s": 1.0}})
    prompts = [f"question {number % 150}" for number in range(200)]
    bases = [sandbox.for_instance("east"), sandbox.url]
    asked = [ask(session, bases[n % 2], prompt, model=f"model-{n % 4}") for n, prompt in enumerate(prompts)]
    answers = await asyncio.gather(*asked)
    assert all(answer.startswith(proof(prompt)) for prompt, answer in zip(prompts, answers, strict=True))
    shown = sandbox.counters()
    assert (shown["requests"], shown["in_flight"], shown["peak_in_flight"]) == (200, 0, 200)
    assert (shown["different_prompts"], shown["repeated_prompts"]) == (150, 50)
    assert shown["by_instance"] == {"default": 100, "east": 100}
    assert shown["by_model"] == {f"model-{n}": 50 for n in range(4)}
    assert shown["by_path"] == {"/v1/chat/completions": 200}
    assert shown["by_status"] == {"200": 200}
    assert 0 < shown["first_request_s"] < shown["last_request_s"] < shown["uptime_s"]


async def test_a_call_that_its_client_gave_up_is_out_of_flight_and_counted_gone(
    sandbox: SandboxProcess, session: aiohttp.ClientSession
) -> None:
    sandbox.set_faults({"action": {"latency_s": 60}})
    calls = [asyncio.create_task(ask(session, sandbox.url, f"{number}")) for number in range(20)]
    await eventually(lambda: sandbox.counters()["in_flight"] == 20, what="20 calls in flight")
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await eventually(lambda: sandbox.counters()["in_flight"] == 0, what="no call in flight")
    assert sandbox.counters()["by_status"] == {"gone": 20}


async def test_2000_calls_wait_at_once_in_under_100_megabytes(
    start: Callable[..., SandboxProcess], session: aiohttp.ClientSession
) -> None:
    sandbox = start("--latency", "60")
    body = "a question of ordinary length, such as people ask; " * 10
    calls = [asyncio.create_task(ask(session, sandbox.url, f"{body} {number}")) for number in range(2_000)]
    try:
        await eventually(lambda: sandbox.counters()["in_flight"] == 2_000, within_s=30, every_s=0.2)
        assert psutil.Process(sandbox.pid).memory_info().rss < 100 * 2**20
        before = time.monotonic()
        assert sandbox.stop() == 0
        assert in_time(time.monotonic() - before, 2)
    finally:
        for call in calls:
            call.cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, aiohttp.ClientError | asyncio.CancelledError) for answer in answers)


async def test_two_processes_give_one_prompt_the_same_answer(
    start: Callable[..., SandboxProcess], sandbox: SandboxProcess, session: aiohttp.ClientSession
) -> None:
    other = start()
    for prompt in ("one", "two", "drei ä€😀"):
        answers = {await ask(session, base, prompt) for base in (sandbox.url, other.url)}
        assert answers == {prose(prompt)}


async def test_latency_and_jitter_follow_the_prompt_and_spare_errors(
    start: Callable[..., SandboxProcess], session: aiohttp.ClientSession
) -> None:
    sandbox = start("--latency", "0.2", "--jitter", "0.6")

    async def timed(prompt: str) -> float:
        before = time.monotonic()
        await ask(session, sandbox.url, prompt)
        return time.monotonic() - before

    prompts = [f"question {number}" for number in range(30)]
    due = [0.2 + 0.6 * (conversation_digest([Message("user", prompt)]) % 0x10000) / 0x10000 for prompt in prompts]
    taken = await asyncio.gather(*(timed(prompt) for prompt in prompts))
    assert max(due) - min(due) > 0.4
    assert [prompt for prompt, s, d in zip(prompts, taken, due, strict=True) if not d - 0.01 < s < d + 1] == []
    assert min(taken) < 0.6
    sandbox.set_faults({"preset": "openai-500"})
    body = {"model": "m", "messages": [{"role": "user", "content": prompts[due.index(max(due))]}]}
    before = time.monotonic()
    async with session.post(f"{sandbox.v1}/chat/completions", json=body) as response:
        assert response.status == 500
    assert in_time(time.monotonic() - before, max(due) - 0.1)


def test_it_starts_again_on_the_same_port_after_a_kill(start: Callable[..., SandboxProcess]) -> None:
    sandbox = start()
    port = sandbox.port
    assert httpx.get(f"{sandbox.v1}/models", headers=HEADERS).status_code == 200
    sandbox.kill()
    sandbox.start(port=port)
    assert sandbox.counters()["requests"] == 0


def test_a_port_that_is_taken_is_told_in_one_sentence(sandbox: SandboxProcess) -> None:
    command = [sys.executable, "-m", "workers.providers.sandbox", "--port", str(sandbox.port)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert f"127.0.0.1:{sandbox.port}" in ended.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_on_a_signal(start: Callable[..., SandboxProcess], signum: signal.Signals) -> None:
    sandbox = start()
    os.kill(sandbox.pid, signum)
    assert sandbox.wait(within_s=2) == 0


def test_it_ends_with_its_parent_where_it_is_told_to(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    child = f"[sys.executable, '-m', 'workers.providers.sandbox', '--watch-parent', '--port-file', {str(port_file)!r}]"
    program = f"import subprocess, sys, time; print(subprocess.Popen({child}).pid, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        sandbox = psutil.Process(int(parent.stdout.readline()))
        wait_for(port_file.exists, within_s=15, what="the sandbox listens")
        parent.kill()
    try:
        wait_for(lambda: ended(sandbox), within_s=5, what="the sandbox ends")
    finally:
        if not ended(sandbox):
            sandbox.kill()


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_it_loads_neither_litellm_nor_celery() -> None:
    program = (
        "import sys, workers.providers.sandbox.__main__; print(*{'litellm', 'celery', 'openai'} & sys.modules.keys())"
    )
    loaded: Any = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, timeout=20)
    assert loaded.stdout.strip() == b""
