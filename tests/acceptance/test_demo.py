"""`ai-provider demo` as a person uses it, to its end and interrupted in its middle."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest

from api.cli.questions import read_questions
from tests.support.sandbox import SandboxProcess
from tests.support.stack import Home
from workers.providers.sandbox.answers import proof


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    home = Home()
    yield home
    home.remove()


def test_demo_ends_with_three_answers_and_all_jobs_completed(home: Home) -> None:
    done = home.run("demo", within_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No provider has a key: the sandbox answers 40 questions" in done.stdout
    asked = re.findall(r"^Q  (.*)\nA  (.*)$", done.stdout, re.MULTILINE)
    assert [question for question, _ in asked] == read_questions(count=3)
    assert all(proof(question) in answer for question, answer in asked)
    assert re.search(r"^  Jobs +40 completed, 0 failed$", done.stdout, re.MULTILINE)
    assert re.search(r"^  Providers +sandbox \(40\)$", done.stdout, re.MULTILINE)
    assert re.search(r"^40/40 done, 0 failed, 0 in flight, [\d,]+ tokens, \$0\.\d+ cost", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    assert home.processes() == []


def test_interrupted_demo_leaves_no_process_and_the_next_one_finishes_its_jobs(home: Home) -> None:
    # Five calls at a time: most jobs are in line when it is interrupted.
    interrupted = home.start("demo", "--count", "400", "--concurrency", "40", AI_PROVIDER_WORKER_CONCURRENCY="5")
    interrupted.wait_for_line("40 in flight")
    interrupted.signal(signal.SIGINT)
    assert interrupted.wait(within_s=10) == 130
    assert home.processes() == []
    assert re.search(
        r"Interrupted with \d+ of 400 jobs done; the next demo finishes what was submitted", interrupted.output
    )

    # With a key made in between: the demo gets itself one for the time.
    assert home.run("keys", "create", "--operator").returncode == 0
    done = home.run("demo", "--count", "3", within_s=120)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"Found (\d+) unfinished jobs of an earlier run", done.stdout)
    assert found is not None, done.stdout
    assert re.search(rf"^  Earlier run +{found[1]} completed, 0 not$", done.stdout, re.MULTILINE)
    keys = [line.split("\t") for line in home.run("keys", "list").stdout.splitlines()]
    assert [(kind, state, name) for _, _, kind, state, _, name in keys] == [
        ("operator", "valid", ""),
        ("tenant", "revoked", "demo, temporary"),
    ]
    assert home.processes() == []


def test_demo_with_a_provider_key_uses_that_provider_on_the_service_that_runs(
    home: Home, sandbox: SandboxProcess
) -> None:
    home.environment |= {"OPENAI_API_KEY": "sk-of-a-test", "OPENAI_BASE_URL": sandbox.v1}
    up = home.up("--no-flower", "--workers", "2")
    assert any(line == "  Providers  openai" for line in up.lines)
    assert not any("workers.providers.sandbox" in line for line in home.processes())
    assert sum("workers.main completions" in line for line in home.processes()) == 2

    done = home.run("demo", "--count", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"A service already runs at {home.url}" in done.stdout
    assert "real ones cost real money" in done.stdout
    assert "3 questions go to model default there." in done.stdout
    assert re.search(r"^  Providers +openai \(3\)$", done.stdout, re.MULTILINE)
    paths = sandbox.counters()["by_path"]
    assert (
        sum(count for path, count in paths.items() if path != "/v1/models") == 3
    )  # health looks at the list of models

    up.signal(signal.SIGTERM)
    assert up.wait(within_s=10) == 0
    assert home.processes() == []
    assert "sk-of-a-test" not in up.output + done.stdout
