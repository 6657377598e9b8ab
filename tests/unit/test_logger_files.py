"""Log files: bounded, one for each process, and no trouble for the service when they cannot be written."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infrastructure.core.logger_core import get_logger, logger_manager
from infrastructure.core.logger_core.rotating_file import RotatingFile
from tests.support.logs import FIELDS, caught_log

WRITER = """
import sys
from infrastructure.core.logger_core import configure_logging, get_logger
configure_logging("ai-provider", output_dir=sys.argv[1], kind="worker", stream=sys.stderr)
for number in range(300):
    get_logger("ai-provider", "writer").info("Said", context={"count": number})
print("done", flush=True)
sys.stdin.read()
"""


def file_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_lines_go_to_the_stream_and_to_a_file_named_after_the_service_and_kind(tmp_path: Path) -> None:
    with caught_log(output_dir=str(tmp_path / "logs"), kind="web", output_format="console") as log:
        get_logger("ai-provider", "a").info("Said", context={"provider": "openai"})
        assert logger_manager.get_metrics()["outputs"] == ["stream", "file"]
    (line,) = file_lines(tmp_path / "logs" / "ai-provider-web.1.log")
    assert list(line) == FIELDS
    assert log.text.endswith("Said provider=openai\n")


def test_a_file_is_rotated_before_it_passes_its_bound_and_the_oldest_goes(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path, stem="s", max_bytes=100, files=3)
    for number in range(100):
        file.write(f"{number:019d}")
    file.close()
    files = sorted(path for path in tmp_path.iterdir() if path.name.startswith("s"))
    assert [path.name for path in files] == ["s.1.log", "s.1.log.1", "s.1.log.2"]
    assert all(path.stat().st_size <= 100 for path in files)
    numbers = [int(line) for path in reversed(files) for line in path.read_text().splitlines()]
    assert numbers == list(range(100 - len(numbers), 100))


def test_a_line_longer_than_the_bound_is_written_all_the_same(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path, stem="s", max_bytes=100, files=1)
    assert [file.write("x" * 200), file.write("y")] == [201, 2]
    file.close()
    assert (tmp_path / "s.1.log").read_text() == "y\n"


def test_what_an_earlier_process_wrote_is_kept_and_counts(tmp_path: Path) -> None:
    for text in ("a" * 59, "b" * 59):
        file = RotatingFile(tmp_path, stem="s", max_bytes=100, files=2)
        file.write(text)
        file.close()
    assert (tmp_path / "s.1.log.1").read_text() == "a" * 59 + "\n"
    assert (tmp_path / "s.1.log").read_text() == "b" * 59 + "\n"


def test_processes_at_the_same_time_have_files_of_their_own_and_later_ones_use_them_again(tmp_path: Path) -> None:
    for _ in range(2):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"done\n"
        for process in processes[:2]:
            process.communicate()
        processes[2].kill()  # its number is free again all the same
        processes[2].communicate()
    names = sorted(path.name for path in tmp_path.glob("*.log*"))
    assert names == [f"ai-provider-worker.{number}.log" for number in (1, 2, 3)]
    for name in names:
        counts = [line["context"]["count"] for line in file_lines(tmp_path / name)]  # type: ignore[index]
        assert counts == [*range(300), *range(300)]


@pytest.mark.parametrize("what", ["moved", "deleted", "folder deleted"])
def test_a_file_that_somebody_takes_away_is_made_anew(tmp_path: Path, what: str) -> None:
    now = [0.0]
    file = RotatingFile(tmp_path / "logs", stem="s", clock=lambda: now[0])
    file.write("before")
    path = tmp_path / "logs" / "s.1.log"
    if what == "moved":
        path.rename(tmp_path / "archived")
    else:
        path.unlink()
    if what == "folder deleted":
        (tmp_path / "logs" / ".s.1.lock").unlink()
        path.parent.rmdir()
    now[0] = 1.0
    file.write("after")
    file.close()
    assert path.read_text() == "after\n"


def test_a_process_whose_folder_was_deleted_shares_no_file_with_one_that_came_after(tmp_path: Path) -> None:
    now = [0.0]
    first, second = (RotatingFile(tmp_path / "logs", stem="s", clock=lambda: now[0]) for _ in range(2))
    first.write("before")
    shutil.rmtree(tmp_path / "logs")
    second.write("second")
    now[0] = 1.0
    first.write("after")
    assert (first.path, second.path) == (tmp_path / "logs" / "s.2.log", tmp_path / "logs" / "s.1.log")
    assert [path.read_text() for path in (first.path, second.path) if path] == ["after\n", "second\n"]
    first.close()
    second.close()


def test_a_folder_that_cannot_be_made_is_told_once_and_tried_again_later(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    before = logger_manager.get_metrics()
    with caught_log(output_dir=str(tmp_path / "taken" / "logs")) as log:
        for _ in range(3):
            get_logger("ai-provider", "a").info("Said")
    after = logger_manager.get_metrics()
    assert [line["message"] for line in log.lines].count("Log file cannot be written") == 1
    assert [line["message"] for line in log.lines].count("Said") == 3
    assert after["write_errors"] - before["write_errors"] == 1
    assert after["dropped"] == before["dropped"]


def test_a_full_disk_leaves_no_half_line_and_the_next_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RotatingFile(tmp_path, stem="s")
    file.write("first")
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
        with pytest.raises(OSError, match="whole line"):
            file.write("second")

        def refused(*_: object) -> int:
            raise OSError(errno.ENOSPC, "no space left")

        full.setattr(os, "write", refused)
        with pytest.raises(OSError, match="no space left"):
            file.write("third")
    file.write("fourth")
    file.close()
    assert (tmp_path / "s.1.log").read_text() == "first\nfourth\n"
