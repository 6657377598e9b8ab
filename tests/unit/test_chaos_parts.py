"""The chaos suite's own parts: what it finds, what it says of a scenario that breaks, and its exit status."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

from tests.chaos import running
from tests.chaos.registry import Scenario, scenarios
from tests.chaos.rows import Row, at_least, at_most, exactly, scaled
from tests.chaos.table import show
from tests.support.fleet import ROOT


def scenario(rows: Sequence[Row] | Exception, *, takes_s: float = 0) -> Scenario:
    def run(scale: float) -> Sequence[Row]:
        assert scale == 1
        time.sleep(takes_s)
        if isinstance(rows, Exception):
            raise rows
        return rows

    return Scenario(name="one", told="One.", run=run, limit_s=1)


def test_every_scenario_of_the_issue_is_found() -> None:
    assert set(scenarios()) >= {
        "worker_kills", "front_door_kills", "upkeep_kills", "lost_messages", "cut_answers", "all_workers",
        "redis_restarts", "redis_stalls", "frozen_worker", "poison", "one_key",
    }  # fmt: skip
    assert all(one.told.endswith(".") for one in scenarios().values())


def test_limits_are_kept_or_broken() -> None:
    assert [at_most("x", figure, 5, unit="s").ok for figure in (4.9, 5, 5.1)] == [True, True, False]
    assert [at_least("x", figure, 5).ok for figure in (4, 5)] == [False, True]
    assert not at_most("p95 of nothing", float("nan"), 5).ok
    assert exactly("x", {"a": 1}, {"a": 1}).ok
    assert not exactly("x", 1, 0).ok
    assert [scaled(20, scale) for scale in (1, 0.1, 0.01)] == [20, 2, 1]


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (scenario([]), "0"),
        (scenario(AssertionError("not within 10 s: the end")), "AssertionError: not within 10 s: the end"),
        (scenario([exactly("x", 0, 0)], takes_s=0.5), "TookTooLong: expected the scenario to end within 0 s, took 0"),
    ],
)
def test_a_scenario_that_says_nothing_or_breaks_or_takes_too_long_is_not_ok(
    one: Scenario, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "LEAST_LIMIT_S", 0.1)
    limited = Scenario(one.name, one.told, one.run, limit_s=0.1)
    [row] = running.run_one(limited, 1)
    assert (row.ok, row.figure) == (False, told)


def test_what_a_scenario_leaves_running_is_ended() -> None:
    left: list[subprocess.Popen[bytes]] = []
    mine = subprocess.Popen(["sleep", "60"])

    def run(_: float) -> Sequence[Row]:
        left.append(subprocess.Popen(["sleep", "60"]))
        return [exactly("x", 0, 0)]

    assert running.run_one(Scenario("one", "One.", run, limit_s=10), 1)[0].ok
    assert left[0].wait(5) != 0
    assert mine.poll() is None
    mine.kill()
    mine.wait(5)


def test_the_table_marks_what_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    show("chaos", [exactly("kept", 0, 0), exactly("lost", 3, 0)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[-2:]] == [["kept", "0", "0", "ok"], ["lost", "3", "0", "BROKEN"]]


def test_an_unknown_name_ends_with_status_2() -> None:
    command = [sys.executable, "-m", "tests.chaos", "nothing"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "no such scenario: nothing; there are" in ended.stderr
