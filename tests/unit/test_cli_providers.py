"""`ai-provider providers` and the job view, as a person sees them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from api.cli import jobs, output, providers
from api.cli.client import Client
from api.reference.provider_examples import COSTS, PROVIDER
from tests.support.ports import free_port

MODEL: dict[str, Any] = PROVIDER["models"][0]
UNUSED = {**PROVIDER, "name": "google", "in_use": False, "unused_because": "no key: set GOOGLE_API_KEY", "models": []}
OPEN = {**MODEL, "model": "claude-with-a-very-long-name-2026-01-01-preview-and-more", "breaker": "open", "next_probe_s": 8.2,
        "success": 0.62, "latency_ms": 31_500.0, "price": None, "last_error": "provider_timeout", "last_error_ago_s": 75.0}  # fmt: skip
TROUBLED = {**PROVIDER, "name": "anthropic", "models": [OPEN, {**MODEL, "last_error": None, "throttled_s": 30.0}],
            "health": {**PROVIDER["health"], "status": "down", "reason": "provider_timeout"},
            "account": {"breaker": "half_open", "reason": "x", "opened_ago_s": 1, "next_probe_s": 1}}  # fmt: skip
PAGE = {"object": "list", "data": [PROVIDER, TROUBLED, UNUSED]}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a service that says what the reference shows."""
    monkeypatch.setattr(Client, "providers", lambda _: PAGE)
    monkeypatch.setattr(Client, "costs", lambda _, **__: COSTS | {"by": "model", "data": [{**COSTS["data"][0], "model": "openai/gpt-5-mini", "tenant": "red"}]})  # fmt: skip


def drawn(monkeypatch: pytest.MonkeyPatch, width: int, *, costs: bool = False) -> list[str]:
    """Return the lines that a terminal of this width gets."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None, highlight=False)
    monkeypatch.setattr(output, "stdout", lambda: console)
    if costs:
        providers.show_costs(url="http://h", days=1, by="model", as_json=False)
    else:
        providers.show(url="http://h", as_json=False)
    return [line for line in file.getvalue().splitlines() if line]


@pytest.mark.usefixtures("service")
def test_eighty_columns_hold_the_table_of_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(monkeypatch, 80)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for shown in ("healthy, checked 11 s ago, priority 1", "down (provider_timeout)", "account trying", "open, 8 s",
                  "$0.00119", "99.6 %", "812 ms", "0.25, 2", "unknown", "62.0 %", "31.5 s", "429, 30 s",
                  "last error provider_timeout 1 min ago", "google  no key: set GOOGLE_API_KEY"):  # fmt: skip
        assert shown in text


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("width", [80, 140])
def test_below_a_model_stand_its_window_the_parts_of_its_score_its_limits_and_its_last_error(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    lines = drawn(monkeypatch, width)
    assert max(map(len, lines)) <= width
    text = "; ".join(line.strip() for line in lines)
    for shown in ("last 30 s: 240 calls, 1 failed", "score: ($0.00076 price + $0.00041 waiting) x 1.00 / 0.996",
                  "10,000 requests/min; 2,000,000 tokens/min", "last error provider_timeout 1 min ago"):  # fmt: skip
        assert shown in text


def test_calls_in_flight_stand_against_the_smaller_limit() -> None:
    account = {**PROVIDER, "limits": {"requests_per_minute": 60, "tokens_per_minute": None, "concurrency": 5}}
    learnt = {"concurrency": 3.7, "requests_per_minute": 600, "tokens_per_minute": None}
    assert providers._in_flight(account, {**MODEL, "learnt_limits": learnt}) == "18/3"
    assert providers._in_flight(account, MODEL) == "18/5"
    assert providers._in_flight(PROVIDER, MODEL) == "18"
    assert providers._rates(account, {**MODEL, "learnt_limits": learnt}) == ("60", "-")


@pytest.mark.usefixtures("service")
def test_a_pipe_gets_a_line_for_each_model(capsys: pytest.CaptureFixture[str]) -> None:
    providers.show(url="http://h", as_json=False)
    headings, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert tuple(headings) == providers.PIPED
    assert dict(zip(headings, rows[0], strict=True))["price part"] == "$0.00076"
    assert [row[0] for row in rows] == ["openai", "anthropic", "anthropic", "google"]
    assert {len(row) for row in rows} == {len(providers.PIPED)}
    providers.show(url="http://h", as_json=True)
    assert json.loads(capsys.readouterr().out) == PAGE


@pytest.mark.usefixtures("service")
def test_the_cost_table_has_totals_probes_and_says_what_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(monkeypatch, 80, costs=True)
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines] == ["model", "openai/gpt-5-mini", "total", "health"]
    assert "$0.170880 + 5 ?" in lines[1]


@pytest.mark.usefixtures("service")
def test_costs_are_shown_by_what_is_asked_for_and_a_pipe_gets_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    providers.show_costs(url="http://h", days=1, by="tenant", as_json=False)
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["tenant", *providers.COST_HEADINGS]
    assert [row[0] for row in rows[1:]] == ["red", "total", "health probes"]


def test_without_a_service_one_line_says_so_and_the_configured_providers_follow(
    capsys: pytest.CaptureFixture[str],
) -> None:
    providers.show(url=f"http://127.0.0.1:{free_port()}", as_json=False)
    shown = capsys.readouterr()
    assert "no service answers" in shown.err
    assert "openai\topenai\tno key: set OPENAI_API_KEY" in shown.out


def test_a_job_shows_what_was_saved_and_each_attempt() -> None:
    attempt = {"provider": "a", "model": "m", "outcome": "provider_unavailable", "status": 503, "latency_ms": 12.4,
               "cost_usd": None, "breaker": "half_open", "score": 0.00119}  # fmt: skip
    good = {**attempt, "outcome": "ok", "status": 200, "cost_usd": 0.00002, "breaker": "closed"}
    job = {"id": "job_1", "status": "completed", "model": "m", "created_at": "2026-01-01T00:00:00.000Z", "started_at": None,
           "finished_at": "2026-01-01T00:00:01.000Z", "usage": {"total_tokens": 3}, "cost_usd": 0.0, "cache": "joined",
           "saved_ms": 812.0, "saved_usd": None, "attempts": [attempt, good], "metadata": {}}  # fmt: skip
    facts = dict(jobs._facts(job))
    assert facts["cache"] == "joined, saved 0.81 s and an unknown cost"
    assert facts["attempt 1"] == (
        "a/m provider_unavailable (503) in 12 ms, cost unknown, score 0.00119, breaker half_open"
    )
    assert facts["attempt 2"] == "a/m ok in 12 ms, $0.000020, score 0.00119"
