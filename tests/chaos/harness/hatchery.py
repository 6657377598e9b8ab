"""Starts real service processes in a fraction of a second, from a process that has the imports done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.fleet import ROOT
from tests.support.waiting import wait_for


@dataclass(frozen=True)
class Hatched:
    """A running process of the service."""

    pid: int
    log: Path

    @property
    def lives(self) -> bool:
        """Say whether it has not ended."""
        return self.status not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD, ""}

    @property
    def status(self) -> str:
        """Return what the system says of it, such as `stopped`; '' when it is gone."""
        try:
            return str(psutil.Process(self.pid).status())
        except psutil.NoSuchProcess:
            return ""

    def send(self, signum: int) -> None:
        """Send a signal; nothing happens where it has ended."""
        if self.lives:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        """End it at once, and see that it is gone."""
        self.send(signal.SIGKILL)
        wait_for(lambda: not self.lives, what=f"the end of process {self.pid}")

    def said(self) -> str:
        """Return its log."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""


class Hatchery:
    """One kind of processes: `workers` (completions, upkeep, beat) or `web`."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.harness.hatching", kind],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        )  # fmt: skip
        self._hatched: list[Hatched] = []
        self._ready = False

    def hatch(self, *arguments: str, environment: Mapping[str, str], log: Path, before: str = "") -> Hatched:
        """Start a process; `before` is a module whose `arm()` runs in it first. It is not waited for."""
        if not self._ready:
            self._ready = "ready" in self._answer()
        assert self._process.stdin is not None
        asked = {"kind": self._kind, "arguments": arguments, "environment": dict(environment), "log": str(log),
                 "before": before}  # fmt: skip
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        hatched = Hatched(self._answer()["pid"], log)
        self._hatched.append(hatched)
        return hatched

    def close(self) -> None:
        """End all of them."""
        for one in self._hatched:
            one.send(signal.SIGKILL)
        self._process.kill()
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the hatchery of {self._kind} ended with {self._process.poll()}"
        answer: dict[str, Any] = json.loads(line)
        return answer
