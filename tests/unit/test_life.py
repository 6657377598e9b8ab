"""Signs of life: what a process shows, what a probe and a supervisor read of it, and what neither is fooled by."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.cli.pulse import Pulse
from infrastructure.core.life import reading
from infrastructure.core.life.signs import Signs
from workers.runtime.life import WorkerLife

HUNG_S = 10.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "signs"


def signs(folder: Path) -> Signs:
    return Signs(kind="beat", service_id="004", hung_s=HUNG_S, folder=folder)


def only(folder: Path) -> reading.Sign:
    (found,) = reading.signs("beat", folder=folder)
    return found


def grow_old(folder: Path, age_s: float) -> None:
    (path,) = folder.glob("*.json")
    os.utime(path, (time.time() - age_s,) * 2)


def test_a_process_lives_from_its_start_and_is_ready_when_it_lacks_nothing(folder: Path) -> None:
    shown = signs(folder)
    assert (only(folder).lives, only(folder).ready, only(folder).missing) == (True, False, ("start",))

    shown.tell(())
    assert only(folder).ready

    shown.tell(("broker",))
    assert only(folder).missing == ("broker",)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_one_that_shows_nothing_for_too_long_neither_lives_nor_is_ready(folder: Path) -> None:
    shown = signs(folder)
    shown.tell(())
    grow_old(folder, HUNG_S + 1)
    assert (only(folder).lives, only(folder).ready) == (False, False)

    shown.show()
    assert only(folder).ready


def test_a_sign_that_somebody_removed_is_given_again(folder: Path) -> None:
    shown = signs(folder)
    for path in folder.glob("*.json"):
        path.unlink()
    shown.show()
    assert only(folder).missing == ("start",)


def test_an_orderly_end_takes_the_sign_away_and_a_late_thread_brings_none_back(folder: Path) -> None:
    shown = signs(folder)
    shown.remove()
    shown.show()
    shown.tell(("broker",))
    assert list(folder.iterdir()) == []


def test_what_dead_processes_left_is_not_believed_and_cleared_at_the_next_start(folder: Path) -> None:
    signs(folder)
    (path,) = folder.glob("*.json")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(10)
    left = folder / f"beat-{dead.pid}.json"
    left.write_text(json.dumps({**json.loads(path.read_text()), "pid": dead.pid}))
    path.write_text(json.dumps({**json.loads(path.read_text()), "born": "1"}))  # another process of our own id
    assert reading.signs("beat", folder=folder) == []

    signs(folder)
    assert not left.exists()
    assert only(folder).pid == os.getpid()


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "signs").symlink_to(tmp_path / "elsewhere")
    shown = signs(tmp_path / "signs")
    shown.tell(())
    shown.show()
    assert shown.fault is not None
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_worker_shows_life_only_while_both_of_its_threads_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    life = WorkerLife(signs(folder), hung_s=HUNG_S)
    grow_old(folder, HUNG_S + 1)
    now_s += HUNG_S  # the loop has had no pulse since
    life.show(consuming=True)
    assert not only(folder).lives

    now_s -= HUNG_S
    life.show(consuming=True)
    assert only(folder).lives


def test_a_supervisor_counts_looks_so_that_a_stopped_machine_hangs_nobody(folder: Path) -> None:
    shown = signs(folder)
    pulse = Pulse("beat", os.getpid(), hung_s=3, folder=folder)
    grow_old(folder, 10_000)
    assert [pulse.look() for _ in range(3)] == [False] * 3
    shown.show()
    assert [pulse.look() for _ in range(4)] == [False, False, False, True]


def test_a_supervisor_does_not_judge_what_has_no_sign_yet(tmp_path: Path) -> None:
    pulse = Pulse("beat", os.getpid(), hung_s=1, folder=tmp_path)
    assert not any(pulse.look() for _ in range(10))
