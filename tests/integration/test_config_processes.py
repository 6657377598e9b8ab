"""Front door, workers and beat as real processes: each notices a replaced file, however it was replaced, and SIGHUP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.configuration import WAYS, Folder
from tests.support.fleet import ROOT
from tests.support.machine import in_time
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_for

NOTICED_WITHIN_S = 3.0
AWAY_S = 0.8
CHANGED = "Configuration has changed"
REFUSED = "Configuration was refused"
KINDS = {
    "web": ("api.main",),
    "worker": ("workers.main", "completions"),
    "upkeep": ("workers.main", "upkeep"),
    "beat": ("workers.main", "beat"),
}


class Logged:
    """A process of the service whose log is kept in a file."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        self.log, self.asked = folder / f"{name}.log", False
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *KINDS[name]], env=environment, cwd=ROOT, stdout=log, stderr=log
            )

    def said(self, text: str) -> int:
        """Return how many lines contain a text."""
        return sum(text in line for line in self.log.read_text("utf-8", "replace").splitlines())

    def ask_to_end(self) -> None:
        """Send SIGTERM, once: a second one would end it at once."""
        if not self.asked:
            self.process.terminate()
        self.asked = True

    def end(self) -> int:
        """Ask it to end and return its status."""
        self.ask_to_end()
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()


class Service:
    """The processes over one folder of configuration."""

    def __init__(self, root: Path, redis_url: str) -> None:
        self.folder = Folder(root)
        self.ttl = 100
        self.folder.write(self.text(), "production")
        environment = {
            **os.environ, "REDIS_URL": redis_url, "CONFIG_DIR": str(self.folder.root), "INFRASTRUCTURE_ENV": "production",
            "AI_PROVIDER_PORT": str(free_port()), "AI_PROVIDER_DATA_DIR": str(root), "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        self.processes = {name: Logged(name, root, environment) for name in KINDS}

    def text(self) -> str:
        """Return the next content of the file."""
        self.ttl += 1
        return f"---\ncache: {{ttl: {self.ttl}}}\n...\n"

    def after(self, line: str, change: object, *, within_s: float = 10) -> dict[str, float]:
        """Make a change; return after how many seconds each process said the line, 99 where it did not."""
        before = {name: one.said(line) for name, one in self.processes.items()}
        began = time.monotonic()
        change()  # type: ignore[operator]
        told: dict[str, float] = {}

        def all_said() -> bool:
            for name, one in self.processes.items():
                if name not in told and one.said(line) > before[name]:
                    told[name] = time.monotonic() - began
            return len(told) == len(self.processes)

        try:
            wait_for(all_said, within_s=within_s)
        except AssertionError:
            return {name: told.get(name, 99.0) for name in self.processes}
        return told


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    server = RedisServer().start()
    running = Service(tmp_path_factory.mktemp("service"), server.url)
    path = running.folder.path("production")
    # Each follows from its start on; the first change is waited for while the worker still loads LiteLLM.
    wait_for(
        lambda: max(running.after(CHANGED, lambda: path.write_text(running.text()), within_s=1).values()) < 1,
        within_s=60,
    )
    wait_for(lambda: running.processes["worker"].said("Worker is ready"), within_s=60)
    yield running
    for one in running.processes.values():
        one.end()
    server.remove()


@pytest.mark.parametrize("way", WAYS)
def test_every_process_notices_a_replaced_file_within_three_seconds(service: Service, way: str) -> None:
    path = service.folder.path("production")

    seconds = service.after(CHANGED, lambda: WAYS[way](path, service.text()))

    assert in_time(max(seconds.values()), NOTICED_WITHIN_S), seconds


def test_every_process_refuses_a_bad_file_within_three_seconds_and_takes_the_next_good_one(service: Service) -> None:
    path = service.folder.path("production")

    seconds = service.after(REFUSED, lambda: path.write_text("---\ncache: {ttl: 0}\n...\n"))
    assert in_time(max(seconds.values()), NOTICED_WITHIN_S), seconds

    seconds = service.after(CHANGED, lambda: path.write_text(service.text()))
    assert in_time(max(seconds.values()), NOTICED_WITHIN_S), seconds


def test_a_file_that_is_gone_for_a_moment_does_not_take_its_settings_away(service: Service) -> None:
    path, draft = service.folder.path("production"), service.folder.root / "draft"
    draft.write_text(service.text())

    def away_and_back() -> None:
        path.unlink()
        back_at = time.monotonic() + AWAY_S
        wait_for(lambda: time.monotonic() > back_at)
        draft.rename(path)

    before = {name: one.said(CHANGED) for name, one in service.processes.items()}
    seconds = service.after(CHANGED, away_and_back)

    assert in_time(max(seconds.values()), NOTICED_WITHIN_S + AWAY_S), seconds
    # One change each, from the old value to the new one: the default in between was in force nowhere.
    assert {name: one.said(CHANGED) - before[name] for name, one in service.processes.items()} == dict.fromkeys(
        KINDS, 1
    )


def test_sighup_reloads_in_every_process_and_ends_none(service: Service) -> None:
    def hang_up() -> None:
        for one in service.processes.values():
            one.process.send_signal(signal.SIGHUP)

    seconds = service.after("as a signal asks", hang_up)

    assert in_time(max(seconds.values()), NOTICED_WITHIN_S), seconds
    assert [one.process.poll() for one in service.processes.values()] == [None] * len(KINDS)
    assert all(one.said("Worker is ready") == 1 for name, one in service.processes.items() if name == "worker")


def test_they_end_in_order_afterwards(service: Service) -> None:
    for one in service.processes.values():
        one.ask_to_end()
    statuses = {name: one.end() for name, one in service.processes.items()}

    assert statuses == dict.fromkeys(KINDS, 0)
