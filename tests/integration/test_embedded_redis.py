"""The embedded server: shared, found again, kept, and never started twice on one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from infrastructure.core.error_core import StoreUnavailable
from infrastructure.optional.embedded_redis.embedded_redis import EmbeddedRedis
from infrastructure.optional.embedded_redis.locks import FileLock
from infrastructure.optional.embedded_redis.redis_process import ServerProcess
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
USER = """
import sys, time
from pathlib import Path
from infrastructure.optional.embedded_redis.embedded_redis import EmbeddedRedis
print(EmbeddedRedis(Path(sys.argv[1])).start(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "redis"
    yield folder
    ServerProcess(folder).end(within_s=2)


def ask(url: str, *command: str) -> object:
    with Redis.from_url(url, decode_responses=True) as client:
        return client.execute_command(*command)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def other_program(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start another program that uses the server, and wait until it does."""
    program = subprocess.Popen(
        [sys.executable, "-c", USER, str(folder)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )  # fmt: skip
    assert program.stdout is not None
    return program, program.stdout.readline().strip()


def kill(program: subprocess.Popen[str]) -> None:
    program.kill()
    program.communicate(timeout=60)


def test_two_users_share_one_server_and_the_last_one_stops_it(folder: Path) -> None:
    first, second = EmbeddedRedis(folder), EmbeddedRedis(folder)
    url = first.start()
    pid = first.pid
    assert pid is not None
    assert second.start() == url
    assert second.pid == pid

    first.stop()
    assert lives(pid)
    assert ask(url, "PING") is True

    second.stop()
    assert not lives(pid)
    assert not Path(url.removeprefix("unix://")).parent.exists()


def test_many_users_that_come_at_once_start_one_server(folder: Path) -> None:
    users = [EmbeddedRedis(folder) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        urls = set(threads.map(lambda user: user.start(), users))
    assert len(urls) == 1
    assert len({user.pid for user in users}) == 1
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda user: user.stop(), users))
    assert not ServerProcess(folder).lives()


def test_server_of_a_killed_program_is_found_and_used_again(folder: Path) -> None:
    program, url = other_program(folder)
    ask(url, "SET", "kept", "yes")
    pid = EmbeddedRedis(folder).pid
    kill(program)

    user = EmbeddedRedis(folder)
    assert user.start() == url
    assert user.pid == pid
    assert ask(url, "GET", "kept") == "yes"
    user.stop()
    assert pid is not None
    wait_for(lambda: not lives(pid), what="the orphan is stopped by its last user")


def test_user_in_another_program_keeps_the_server(folder: Path) -> None:
    program, url = other_program(folder)
    user = EmbeddedRedis(folder)
    user.start()
    user.stop()
    assert ask(url, "PING") is True
    kill(program)


def test_data_survive_a_restart(folder: Path) -> None:
    user = EmbeddedRedis(folder)
    ask(user.start(), "SET", "kept", "yes")
    user.stop()
    assert ask(user.start(), "GET", "kept") == "yes"
    user.stop()


def test_what_was_acknowledged_survives_a_crash_and_a_cut_file(folder: Path) -> None:
    user = EmbeddedRedis(folder)
    url = user.start()
    ask(url, "SET", "kept", "yes")
    ask(url, "SET", "last", "x" * 100)
    assert user.pid is not None
    os.kill(user.pid, signal.SIGKILL)
    wait_for(lambda: user.pid is None)
    (log,) = (folder / "appendonlydir").glob("*.incr.aof")
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 10)

    assert user.revive() is True
    assert user.url == url  # whoever was connected finds it where it was
    assert ask(url, "GET", "kept") == "yes"
    assert ask(url, "GET", "last") is None
    assert user.revive() is False
    user.stop()


def test_every_write_is_on_disk_before_it_is_acknowledged(folder: Path) -> None:
    user = EmbeddedRedis(folder)
    url = user.start()
    settings = ask(url, "CONFIG", "GET", "append*")
    assert isinstance(settings, dict)
    assert (settings["appendonly"], settings["appendfsync"]) == ("yes", "always")
    assert ask(url, "CONFIG", "GET", "maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    user.stop()


def test_socket_folder_is_private(folder: Path) -> None:
    user = EmbeddedRedis(folder)
    socket = Path(user.start().removeprefix("unix://"))
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o777 == 0o700
    user.stop()


def test_second_server_on_the_folder_is_refused(folder: Path) -> None:
    user = EmbeddedRedis(folder)
    user.start()
    with pytest.raises(StoreUnavailable, match="found its lock taken"):
        ServerProcess(folder).start()
    user.stop()


def test_server_holds_its_lock_when_everybody_else_is_gone(folder: Path) -> None:
    program, _ = other_program(folder)
    kill(program)
    assert FileLock(folder / "server.lock").acquire() is False


def test_socket_path_that_is_too_long_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(StoreUnavailable, match=r"at most 10\d bytes, got \d+ under .*set TMPDIR"):
        EmbeddedRedis(folder).start()
    assert list(long.iterdir()) == []


def test_server_that_does_not_come_up_is_told_in_one_sentence_with_its_log(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken-server"
    broken.write_text("#!/bin/sh\necho out of luck\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(StoreUnavailable, match="ended while it started; its log ends: out of luck"):
        EmbeddedRedis(folder, str(broken)).start()


def test_program_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(StoreUnavailable, match="found none at /nowhere/redis-server"):
        EmbeddedRedis(folder, "/nowhere/redis-server").start()


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match=r"cannot work in .*: Not a directory"):
        EmbeddedRedis(tmp_path / "file" / "redis").start()


def test_frozen_server_is_ended_all_the_same(folder: Path) -> None:
    user = EmbeddedRedis(folder)
    user.start()
    pid = user.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    user.stop()
    assert not lives(pid)
