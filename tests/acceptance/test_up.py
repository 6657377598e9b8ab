"""`ai-provider up` as a person uses it: real processes, real HTTP, the sandbox as provider."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.support.machine import in_time
from tests.support.stack import Home, Program
from tests.support.waiting import wait_for
from workers.providers.sandbox.answers import proof


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    home = Home()
    yield home
    home.remove()


@pytest.fixture(scope="module")
def up(home: Home) -> Program:
    return home.up()


def pid_of(home: Home, words: str) -> int:
    (pid,) = [process.pid for process in home._own() if words in " ".join(process.cmdline())]
    return pid


def test_up_says_where_everything_is(home: Home, up: Program) -> None:
    assert f"  API        {home.url}/api/v1" in up.lines
    assert f"  Docs       {home.url}/docs" in up.lines
    assert any(line.startswith("  Flower     http://127.0.0.1:") for line in up.lines)
    assert any(line.startswith("  Redis      embedded (unix://") for line in up.lines)
    assert any(line.startswith("  Providers  sandbox") for line in up.lines)
    assert any(re.fullmatch(r"sandbox  │ answers at http://127\.0\.0\.1:\d+: .*made up", line) for line in up.lines)
    assert httpx.get(f"{home.url}/health").json()["status"] == "ok"


@pytest.mark.usefixtures("up")
def test_flower_answers_where_up_says(home: Home) -> None:
    port = home.environment["AI_PROVIDER_FLOWER_PORT"]
    wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/healthcheck").status_code == 200)

    def kinds() -> set[str]:
        told = httpx.get(f"{home.url}/api/v1/infrastructure/metrics", timeout=5).json()
        return {one["kind"] for one in told["instances"]}

    wait_for(lambda: kinds() == {"web", "completions", "upkeep", "beat", "flower"}, what="figures of every process")


@pytest.mark.usefixtures("up")
def test_submit_with_wait_writes_the_answer_to_the_question(home: Home) -> None:
    done = home.run("submit", "Why is the sky blue?", "--wait")
    assert done.returncode == 0, done.stderr
    assert proof("Why is the sky blue?") in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert re.fullmatch(r"job_\w{32} · sandbox/sandbox-small · \d+ tokens · \$0\.\d+ · \d+\.\d\d s\n", done.stderr)


@pytest.mark.usefixtures("up")
def test_submit_without_wait_writes_the_id_under_which_jobs_shows_it(home: Home) -> None:
    job_id = home.run("submit", "How deep is the sea?", "--priority", "high").stdout.strip()
    wait_for(lambda: "completed" in home.run("jobs", "show", job_id).stdout)
    shown = home.run("jobs", "show", job_id).stdout
    assert proof("How deep is the sea?") in shown

    listed = home.run("jobs").stdout.splitlines()
    assert listed[0].split("\t")[:3] == [job_id, "completed", "default"]
    cancelled = home.run("jobs", "cancel", job_id)
    assert cancelled.stdout == f"{job_id} completed\n"
    assert json.loads(home.run("jobs", "--limit", "1", "--json").stdout)["data"][0]["id"] == job_id


@pytest.mark.usefixtures("up")
def test_what_the_service_refuses_is_one_sentence(home: Home) -> None:
    refused = home.run("submit", "Hello", "--model", "no-such-model", "--wait")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ")
    assert "no-such-model" in refused.stderr
    assert refused.stderr.count("\n") == 1
    missing = home.run("jobs", "show", "job_" + "0" * 32)
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)


@pytest.mark.usefixtures("up")
def test_port_that_is_taken_is_told_at_once(home: Home) -> None:
    second = home.run("up")
    assert second.returncode == 1
    assert second.stderr.startswith(f"error: the service already runs at {home.url}")


def test_what_dies_is_started_again_and_no_job_is_lost(home: Home, up: Program) -> None:
    def restarts(name: str) -> int:
        return sum(line.startswith(name) and "starting again" in line for line in up.lines)

    os.kill(pid_of(home, "valkey-server"), signal.SIGKILL)
    up.wait_for_line("the embedded server had died; it runs again")
    for name, words in (("web", "api.main"), ("sandbox", "providers.sandbox"), ("worker", "workers.main completions")):
        os.kill(pid_of(home, words), signal.SIGKILL)
        wait_for(lambda name=name: restarts(name) == 1, what=f"{name} is started again")  # type: ignore[misc]

    def answered() -> bool:
        done = home.run("submit", "Are you still there?", "--wait")
        return proof("Are you still there?") in done.stdout

    wait_for(answered, within_s=30)
    assert "How deep" not in up.output  # no prompt in a log
    assert home.run("jobs", "list", "--status", "failed").stdout == ""


def test_keys_are_asked_for_from_the_first_one_on(home: Home, up: Program) -> None:
    operator = home.run("keys", "create", "--operator", "--name", "test").stdout.strip()
    assert re.fullmatch(r"aip_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", operator)

    def refused() -> bool:
        return "set AI_PROVIDER_API_KEY" in home.run("jobs").stderr

    wait_for(refused)
    assert home.run("jobs", AI_PROVIDER_API_KEY=operator).returncode == 0
    listed = home.run("keys", "list").stdout
    assert "operator\tvalid" in listed
    assert operator not in listed + up.output

    assert home.run("keys", "revoke", operator).returncode == 0
    assert "operator\trevoked" in home.run("keys", "list").stdout
    assert home.run("keys", "revoke", "nonsense").stderr.startswith("error: there is no such key")


def test_ctrl_c_stops_all_within_10_s_and_leaves_no_process(home: Home, up: Program) -> None:
    assert len(home.processes()) >= 8
    started = time.monotonic()
    up.signal(signal.SIGINT)
    assert up.wait(within_s=10) == 0
    assert in_time(time.monotonic() - started, 10)
    assert home.processes() == []
    assert "Traceback" not in up.output


def test_service_for_other_machines_without_a_key_is_refused_and_all_is_stopped() -> None:
    home = Home()
    try:
        refused = home.start("up", "--host", "0.0.0.0", "--no-flower")
        assert refused.wait() == 78
        assert re.search(
            r"error: configuration: service.host 0.0.0.0 is reachable.*ai-provider keys create", refused.output
        )
        assert home.processes() == []
    finally:
        home.remove()


def test_killed_up_leaves_only_the_server_which_the_next_command_uses_and_stops() -> None:
    home = Home()
    try:
        up = home.start("up", "--no-flower")
        up.wait_for_line("AI Provider is up")
        up.signal(signal.SIGKILL)
        up.wait()
        wait_for(lambda: len(home.processes()) == 1, within_s=12, what="the guardian ends the others")
        server = psutil.Process(pid_of(home, "valkey-server"))
        assert home.run("keys", "create").returncode == 0
        wait_for(lambda: home.processes() == [])
        assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE
    finally:
        home.remove()
