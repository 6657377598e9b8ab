"""What comes from outside acts on no terminal, and reaches a pipe as it is."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from api.cli import jobs, output
from api.cli.main import run

HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31mred\x1b[0m\r\u202egnp.exe :smile: [bold]x[/bold]"
ACTING = ("\x1b", "\x9b", "\x07", "\u202e")


def on_terminal(monkeypatch: pytest.MonkeyPatch, write: Callable[[Any], Any], said: Any) -> str:
    """Return what a real terminal is sent when something is written."""
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        patch.setenv("TERM", "dumb")  # no colours of our own
        write(said)
        stream.flush()
        assert select.select([controller], [], [], 5)[0], "nothing was sent"
        sent = os.read(controller, 65_536).decode()
    os.close(controller)
    return sent


@pytest.mark.parametrize("write", [
    output.say, output.note, output.fail, output.dump,
    lambda text: output.table(("name",), ((text,),)),
    lambda text: output.fields((("name", text),)),
    lambda text: output.Log()("web", text),
])  # fmt: skip
def test_nothing_that_is_written_acts_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, write: Callable[[str], Any]
) -> None:
    sent = on_terminal(monkeypatch, write, HOSTILE)
    assert not [mark for mark in ACTING if mark in sent], sent
    assert "red" in sent
    assert ":smile: [bold]x[/bold]" in sent


def test_lines_and_blanks_of_an_answer_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_terminal(monkeypatch, output.say, "one\n  two").splitlines() == ["one", "  two"]


def test_a_pipe_gets_an_answer_letter_for_letter(capsys: pytest.CaptureFixture[str]) -> None:
    text = f"all:\n\tmake it\n{HOSTILE}"
    output.say(text)
    assert capsys.readouterr().out == text + "\n"


def test_a_row_on_a_pipe_is_one_harmless_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("id", "text"), (("1", f"first\nsecond\tthird {HOSTILE}"),))
    said = capsys.readouterr().out
    assert (said.count("\n"), said.count("\t")) == (1, 1)
    assert not [mark for mark in ACTING if mark in said]


def test_json_says_the_same_with_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(on_terminal(monkeypatch, output.dump, {"text": HOSTILE})) == {"text": HOSTILE}


def test_a_pipe_that_nobody_reads_ends_the_program_without_a_word() -> None:
    code = "from api.cli import output\nfor _ in range(20_000): output.say('word ' * 20)"
    shell = f'"{sys.executable}" -c "{code}" | head -1'
    ended = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert (ended.stdout.count("\n"), ended.stderr) == (1, "")


def test_a_narrow_terminal_gets_fewer_columns_and_none_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ("job_" + "0" * 32, "in_progress", "default", "10 s ago", "0.50 s")
    headings = ("id", "status", "model", "submitted", "took")

    def shown(columns: str) -> str:
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setenv("LINES", "25")
        return on_terminal(monkeypatch, lambda _: output.table(headings, [row], spare=("took", "submitted")), None)

    assert "submitted" not in (narrow := shown("70"))
    assert "0.50 s" in narrow
    assert "10 s ago" in shown("100")
    assert len([line for line in narrow.splitlines() if line.strip()]) == 2


def test_an_id_in_the_place_of_a_command_shows_that_job(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(jobs, "show", lambda job_id, **_: asked.append(job_id))
    monkeypatch.setattr(sys, "argv", ["ai-provider", "jobs", job_id := "job_" + "0" * 32])
    assert run() == 0
    assert asked == [job_id]
