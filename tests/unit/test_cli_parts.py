"""The command line's small parts: sentences, figures, questions, addresses."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.cli import config, output, reach
from api.cli.client import problem, service_url
from api.cli.errors import CommandFailed
from api.cli.questions import read_questions
from api.cli.sandbox import why_sandbox
from api.cli.submit import answer_text, facts
from api.cli.tally import Tally, percentile
from infrastructure.core.addresses import http_url
from infrastructure.core.config_core import load
from infrastructure.core.config_core.trees import leaves

JOB: dict[str, Any] = {
    "id": "job_1",
    "status": "completed",
    "model": "default",
    "created_at": "2026-01-01T00:00:00.000Z",
    "finished_at": "2026-01-01T00:00:01.500Z",
    "result": {"choices": [{"message": {"content": "Because."}}]},
    "usage": {"total_tokens": 12},
    "cost_usd": 0.00001,
    "cache": "miss",
    "attempts": [{"provider": "a", "model": "m1"}, {"provider": "b", "model": "m2"}],
}


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


def test_facts_name_who_answered_and_what_it_took() -> None:
    assert facts(JOB) == "job_1 · b/m2 · 12 tokens · $0.000010 · 1.50 s"
    assert "cost unknown" in facts({**JOB, "cost_usd": None})
    assert facts({**JOB, "cache": "hit"}).endswith("cache hit")


def test_answer_without_words_is_shown_by_its_tool_calls() -> None:
    called = {"choices": [{"message": {"content": None, "tool_calls": [{"id": "1"}]}}]}
    assert answer_text(JOB) == "Because."
    assert answer_text({**JOB, "result": called}) == "[{'id': '1'}]"
    assert answer_text({**JOB, "result": None}) == ""


def test_costs_below_a_dollar_have_the_same_digits_and_unknown_is_not_nothing() -> None:
    assert [output.usd(cost) for cost in (0, 1e-9, 0.000012, 0.25, 12.345, None)] == [
        "$0.00", "under $0.000001", "$0.000012", "$0.250000", "$12.35", "unknown"]  # fmt: skip


def test_problem_is_a_sentence_with_every_fault() -> None:
    document = {"code": "validation_failed", "detail": "no", "errors": [{"field": "a", "message": "b"}]}
    assert problem(document, 422) == "a: b"
    assert problem({"code": "missing_api_key", "detail": "a key is needed"}, 401) == (
        "a key is needed (set AI_PROVIDER_API_KEY)"
    )
    assert problem({}, 500) == "status 500"


def test_tally_counts_what_ended_and_how() -> None:
    now = [100.0]
    tally = Tally(3, clock=lambda: now[0])
    tally.start()
    now[0] = 102.0
    tally.add(JOB)
    tally.add({**JOB, "cache": "joined", "cost_usd": None})
    assert (tally.done, tally.tokens, tally.hits + tally.joined, tally.unknown_costs, tally.per_s) == (2, 24, 1, 1, 1.0)
    assert not tally.complete
    tally.add({**JOB, "status": "failed", "error": {"code": "rate_limited"}, "attempts": []})
    assert (tally.failed, dict(tally.failures), dict(tally.providers)) == (1, {"rate_limited": 1}, {"b": 2})
    assert not tally.complete


def test_run_is_complete_only_with_the_jobs_of_the_earlier_run() -> None:
    tally = Tally(1, earlier=1)
    tally.add(JOB)
    assert not tally.complete
    tally.add_earlier(JOB)
    assert tally.complete


def test_percentile_is_the_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.95), percentile([3.0], 0.95), percentile([], 0.5)) == (
        50.0, 95.0, 3.0, 0.0)  # fmt: skip


def test_shipped_questions_are_forty_different_ones() -> None:
    assert len(set(read_questions())) == 40
    assert len(read_questions(count=3)) == 3
    assert read_questions(count=41)[40] == read_questions(count=1)[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "found none"),
        ('{"question": "a"}\nno json\n', ":2: expected a JSON object"),
        ('{"prompt": "a"}\n', r':1: expected \{"question"'),
        ('{"question": " "}\n', ":1: expected"),
        ("[1]\n", ":1: expected"),
    ],
)
def test_bad_question_file_is_told_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(text)
    with pytest.raises(CommandFailed, match=complaint):
        read_questions(path)


def test_question_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="cannot be read: No such file"):
        read_questions(tmp_path / "none")


def test_taken_port_is_not_free(listener: socket.socket) -> None:
    assert not reach.is_free("127.0.0.1", listener.getsockname()[1])
    assert reach.is_free("127.0.0.1", reach.free_port())
    with pytest.raises(CommandFailed, match="cannot listen on 203"):
        reach.is_free("203.0.113.1", 8005)


def test_address_to_listen_on_becomes_a_url_to_reach() -> None:
    assert http_url("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert http_url("::", 1) == "http://[::1]:1"
    assert http_url("192.0.2.1", 1) == "http://192.0.2.1:1"


def test_redis_that_never_answers_is_given_up_in_time_and_its_password_is_not_told(listener: socket.socket) -> None:
    url = f"redis://user:hush@127.0.0.1:{listener.getsockname()[1]}/0"
    with pytest.raises(CommandFailed, match=r"no answer within 3 s") as failure:
        reach.check_redis(url, origin="variable REDIS_URL")
    assert "hush" not in failure.value.message
    assert "(from variable REDIS_URL)" in failure.value.message


def test_redis_that_answers_is_accepted(redis_url: str) -> None:
    reach.check_redis(redis_url)


def test_secrets_of_the_configuration_are_masked_and_values_know_their_origin() -> None:
    loaded = load(
        {"OPENAI_API_KEY": "sk-hush", "REDIS_URL": "redis://u:hush@redis.example:6379/1", "AI_PROVIDER_PORT": "81"}
    )
    values = dict(leaves(loaded.settings))
    assert "hush" not in str(values)
    assert values["providers.openai.api_key"] == "********"
    assert values["redis.url"] == "redis://redis.example:6379/1"
    assert values["service.port"] == "81"
    assert config._origin("service.port", loaded.origins) == "variable AI_PROVIDER_PORT"
    assert config._origin("logging.format", loaded.origins) == "development.yml"
    assert config._origin("worker.drain_s", loaded.origins) == "default"


def test_provider_says_why_it_is_not_in_use() -> None:
    settings = load({"OPENAI_API_KEY": "sk-hush", "AI_PROVIDER_PROVIDERS": ""}).settings
    states = {name: config._state(name, provider, settings) for name, provider in settings.providers.items()}
    assert states["openai"] == "in use"
    assert states["anthropic"] == "no key: set ANTHROPIC_API_KEY"


def test_service_url_has_to_be_one() -> None:
    assert service_url("http://h:1/") == "http://h:1"
    with pytest.raises(CommandFailed, match="start with http"):
        service_url("h:1")


def test_command_line_loads_nothing_that_its_help_does_not_need() -> None:
    code = "import sys, api.cli.main; print([m for m in ('httpx', 'redis', 'litellm', 'pydantic', 'celery') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_no_command_loads_litellm() -> None:
    names = ("up", "demo", "submit", "jobs", "keys", "config")
    code = f"import sys; from api.cli import {', '.join(names)}; print('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_demo_says_before_it_starts_what_a_real_provider_may_cost(capsys: pytest.CaptureFixture[str]) -> None:
    from api.cli.demo import _introduce
    from infrastructure.core.config_core import load

    _introduce(load({"OPENAI_API_KEY": "sk-of-a-test"}).settings, "default", 40, redis_url="redis://localhost")

    said = capsys.readouterr().out
    assert "openai/gpt-5-mini answers 40 questions. This is a real provider: it costs real money." in said
    assert "$" in said
    assert "sk-of-a-test" not in said


def test_the_sandbox_is_not_said_to_answer_for_want_of_keys_where_there_are_some() -> None:
    sandbox = {"AI_PROVIDER_SANDBOX_MODE": "on", "AI_PROVIDER_SANDBOX_URL": "http://127.0.0.1:1"}
    assert why_sandbox(load(sandbox).settings) == "no provider has a key"
    keyed = load({**sandbox, "OPENAI_API_KEY": "sk-0123456789abcdef"}).settings
    assert why_sandbox(keyed) == "it is switched on beside openai"
