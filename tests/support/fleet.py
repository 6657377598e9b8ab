"""The real processes, started bare for measurement: Redis, the sandbox, the front door, one worker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.sandbox import SandboxProcess
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Usage:
    """What a process has used: seconds of CPU, and its resident megabytes now."""

    cpu_s: float
    resident_mb: float


@dataclass
class Fleet:
    """Starts what is asked for, tells what it uses, ends all of it."""

    latency_s: float = 0.0
    worker_env: dict[str, str] = field(default_factory=dict)
    store: Callable[[], Any] = lambda: RedisServer(appendonly=True)

    def __enter__(self) -> Self:
        self._children: list[subprocess.Popen[bytes]] = []
        self.folder = Path(tempfile.mkdtemp(prefix="aip-fleet-"))
        self.redis = self.store().start()
        self.sandbox = SandboxProcess("--latency", str(self.latency_s)).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        for child in reversed(self._children):
            kill(child)
        self.sandbox.remove()
        self.redis.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables that tie the processes together."""
        return {**os.environ, "REDIS_URL": self.redis.url, "AI_PROVIDER_SANDBOX_URL": self.sandbox.url,
                "AI_PROVIDER_DATA_DIR": str(self.folder), "LOG_LEVEL": "warning", "PYTHONPATH": str(ROOT), **more}  # fmt: skip

    def start_web(self, **variables: str) -> None:
        """Start the front door and wait until it is ready."""
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.web = self._start("api.main", AI_PROVIDER_PORT=str(port), AI_PROVIDER_HOST="127.0.0.1", **variables)
        wait_for(self._ready, within_s=60, what="the front door")

    def start_worker(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start one completion worker; it is not waited for."""
        self.worker = self._start("workers.main", "completions", **self.worker_env, **variables)
        return self.worker

    def start_upkeep(self) -> None:
        """Start upkeep and beat."""
        self.upkeep = self._start("workers.main", "upkeep", **self.worker_env)
        self.start_beat()

    def start_beat(self) -> None:
        """Start beat alone."""
        self.beat = self._start("workers.main", "beat", **self.worker_env)

    def start_flower(self) -> None:
        """Start the monitoring UI."""
        self.flower = self._start("workers.main", "flower", AI_PROVIDER_FLOWER_PORT=str(free_port()), **self.worker_env)

    def start_other(self, module: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start any other process of the service."""
        return self._start(module, *arguments, **variables)

    @property
    def children(self) -> list[subprocess.Popen[bytes]]:
        """Return every process that was started, in that order."""
        return list(self._children)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _start(self, module: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", module, *arguments]
        child = subprocess.Popen(command, env=self.environment(**variables), cwd=ROOT, start_new_session=True)
        self._children.append(child)
        return child


def kill(child: subprocess.Popen[bytes]) -> None:
    """End a process and its children at once, as a crash does."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(60)


def usage(child: subprocess.Popen[bytes]) -> Usage:
    """Return what a process and its children have used."""
    process = psutil.Process(child.pid)
    family = [process, *process.children(recursive=True)]
    cpu = resident = 0.0
    for one in family:
        try:
            times = one.cpu_times()
            cpu += times.user + times.system
            resident += one.memory_info().rss / 1e6
        except psutil.NoSuchProcess:
            continue
    return Usage(cpu, resident)


def watch_peak(child: subprocess.Popen[bytes], until: Any, *, within_s: float) -> float:
    """Return the most resident megabytes seen until a condition holds; AssertionError when it does not in time."""
    peak, deadline = 0.0, time.monotonic() + within_s
    while not until():
        peak = max(peak, usage(child).resident_mb)
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s")
        time.sleep(0.2)
    return max(peak, usage(child).resident_mb)
