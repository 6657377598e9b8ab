"""The command line when things are wrong: one sentence, the right exit status, soon."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.machine import in_time
from tests.support.ports import free_port
from tests.support.stack import Home


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    home = Home()
    yield home
    home.remove()


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    """A server that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"redis://user:hush@127.0.0.1:{listener.getsockname()[1]}/0"


def test_dead_redis_ends_every_command_within_10_s_with_one_sentence(home: Home, silent: str) -> None:
    def run(command: tuple[str, ...]) -> tuple[subprocess.CompletedProcess[str], float]:
        started = time.monotonic()
        return home.run(*command, REDIS_URL=silent), time.monotonic() - started

    with ThreadPoolExecutor() as threads:
        ended = list(threads.map(run, [("up",), ("demo",), ("keys", "list")]))
    for done, took_s in ended:
        assert in_time(took_s, 10)
        assert done.returncode == 1
        (sentence,) = done.stderr.splitlines()
        assert sentence.startswith("error: Redis at redis://127.0.0.1:")
        assert "(from variable REDIS_URL) cannot be used: no answer within 3 s" in sentence
        assert "hush" not in done.stdout + done.stderr


def test_redis_where_nobody_listens_is_told_at_once(home: Home) -> None:
    done = home.run("up", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Connection refused" in done.stderr


def test_redis_url_that_is_none_is_a_fault_of_the_configuration(home: Home) -> None:
    done = home.run("keys", "list", REDIS_URL="http://hush@nowhere")
    assert done.returncode == 78
    assert done.stderr.startswith("error: configuration: redis.url: expected redis://")
    assert "hush" not in done.stderr


def test_service_that_does_not_run_is_told_with_what_to_do(home: Home) -> None:
    for command in (("submit", "Hello"), ("jobs",), ("jobs", "show", "job_1")):
        done = home.run(*command)
        assert done.returncode == 1
        assert (
            done.stderr
            == f"error: no service answers at {home.url}: start it with `ai-provider up`, or name it with --url\n"
        )


def test_other_program_on_the_port_is_told(home: Home) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        done = home.run("up", "--port", str(listener.getsockname()[1]))
    assert done.returncode == 1
    assert "is taken by another program: stop that one, or choose another port with --port" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("submit",), ("up", "--port", "x"), ("jobs", "list", "--limit", "0")]
)
def test_wrong_usage_has_status_2(home: Home, arguments: tuple[str, ...]) -> None:
    done = home.run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_every_fault_of_the_configuration_is_told_with_status_78(home: Home) -> None:
    done = home.run("config", "check", AI_PROVIDER_LOGGING_LEVEL="loud", AI_PROVIDER_PROT="1")
    assert done.returncode == 78
    lines = done.stderr.splitlines()
    assert any("AI_PROVIDER_PROT" in line and "AI_PROVIDER_PORT" in line for line in lines)
    assert all(line.startswith("error: configuration: ") for line in lines)


def test_configuration_is_shown_in_lines_with_origins_and_without_secrets(home: Home) -> None:
    shown = home.run("config", "show", OPENAI_API_KEY="sk-hush")
    assert shown.returncode == 0
    assert f"service.port\t{home.port}\tvariable AI_PROVIDER_PORT" in shown.stdout.splitlines()
    assert "providers.openai.api_key\t********\tvariable OPENAI_API_KEY" in shown.stdout.splitlines()
    assert "hush" not in shown.stdout
    listed = home.run("providers", OPENAI_API_KEY="sk-hush").stdout.splitlines()
    assert listed[0].split("\t")[:3] == ["openai", "openai", "in use"]


def test_keys_work_without_a_running_service_and_leave_no_process(home: Home) -> None:
    key = home.run("keys", "create", "team-a").stdout.strip()
    assert home.run("keys", "list").stdout.split("\t")[:4] == [key.split("_")[1], "team-a", "tenant", "valid"]
    assert home.run("keys", "revoke", key.split("_")[1]).returncode == 0
    assert home.run("keys", "list").stdout.split("\t")[3] == "revoked"
    assert home.run("keys", "create", "No Tenant").stderr.startswith("error: tenant: expected")
    assert home.processes() == []
