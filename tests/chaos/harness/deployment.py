"""The whole service on a private Redis, every process of which can be killed, frozen and started again at once."""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis as sync_redis

from tests.chaos.harness.hatchery import Hatched, Hatchery
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.sandbox import SandboxProcess
from tests.support.waiting import wait_for

PREFIX = "aip"
MODEL = "sandbox/sandbox-small"
PROBE_TENANT = b"(probe)|"
FAST = {
    "AI_PROVIDER_JOBS_LEASE_S": "4",
    "AI_PROVIDER_JOBS_HEARTBEAT_S": "1",
    "AI_PROVIDER_WORKER_DRAIN_S": "1",
}
"""Leases of 4 s, for scenarios in which nothing depends on how long one is."""


@dataclass
class Deployment:
    """Redis, sandbox, front door, workers, upkeep and beat. `latency_s`: of the sandbox's answers, from and to.

    Waits for nothing but what its methods name; `redis_url` may lead through a proxy that a scenario has put before Redis.
    """

    latency_s: tuple[float, float] = (0.0, 0.0)
    variables: Mapping[str, str] = field(default_factory=dict)
    appendfsync: str = "always"
    redis_options: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="aip-chaos-"))
        self.redis = RedisServer(
            appendonly=True, extra=("--appendfsync", self.appendfsync, *self.redis_options)
        ).start()
        with self.client() as client:
            assert client.config_get("appendfsync")["appendfsync"] == self.appendfsync
        low, high = self.latency_s
        self.sandbox = SandboxProcess("--latency", str(low), "--jitter", str(high - low)).start()
        self._workers, self._web = Hatchery("workers"), Hatchery("web")
        self._count = 0
        self.redis_url = self.redis.url
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.workers: list[Hatched] = []
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self._web.close()
        self._workers.close()
        self.sandbox.remove()
        self.redis.remove()
        if exc is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"  logs are kept in {self.folder}", flush=True)

    def start(self, *, workers: int = 2, before: str = "") -> None:
        """Start everything and wait until it is ready; `before` is armed in all who run jobs."""
        self.start_web()
        for _ in range(workers):
            self.add_worker(before=before)
        self.start_upkeep(before=before)
        self.start_beat()
        self.wait_until_ready(*self.workers, self.upkeep)

    def start_web(self, *, before: str = "", **variables: str) -> Hatched:
        """Start the front door on its port, and wait until it is ready."""
        self.web = self._hatch(self._web, "web", before=before, **variables)
        wait_for(self._answers, within_s=20, what="the front door is ready")
        return self.web

    def add_worker(self, *, before: str = "", **variables: str) -> Hatched:
        """Start one completion worker more; it is not waited for."""
        self.workers.append(self._hatch(self._workers, "completions", "completions", before=before, **variables))
        return self.workers[-1]

    def start_upkeep(self, *, before: str = "", **variables: str) -> Hatched:
        """Start upkeep; it is not waited for."""
        self.upkeep = self._hatch(self._workers, "upkeep", "upkeep", before=before, **variables)
        return self.upkeep

    def start_beat(self, **variables: str) -> Hatched:
        """Start beat; it is not waited for."""
        self.beat = self._hatch(self._workers, "beat", "beat", **variables)
        return self.beat

    def replace(self, worker: Hatched) -> Hatched:
        """Kill a completion worker and start another one in its place."""
        worker.kill()
        self.workers.remove(worker)
        return self.add_worker()

    def wait_until_ready(self, *started: Hatched) -> None:
        """Wait until worker processes have said that they are ready."""
        for one in started:
            wait_for(partial(_said_ready, one), within_s=30, what=f"{one.log.name} is ready")

    def client(self) -> sync_redis.Redis:
        """Return a client of Redis itself, past any proxy; to be closed."""
        return sync_redis.Redis.from_url(self.redis.url)

    def owner_of(self, worker: Hatched) -> str:
        """Return the name under which a worker claims; '' when it has none yet."""
        with self.client() as client:
            names: Iterable[Any] = client.zrange(f"{PREFIX}:workers", 0, -1)
        return next((name.decode() for name in names if f".{worker.pid}." in name.decode()), "")

    def said(self, text: str) -> int:
        """Return how many lines of all logs contain a text."""
        logs = (path.read_text("utf-8", "replace") for path in self.folder.glob("*.log"))
        return sum(text in line for log in logs for line in log.splitlines())

    def calls(self) -> int:
        """Return how many calls for jobs reached the sandbox; health probes and looks at its list of models are none."""
        seconds = self.sandbox.timeline()["instances"]
        return (
            sum(int(one.get("calls", 0)) for instance in seconds.values() for one in instance.values()) - self.probes()
        )

    def probes(self) -> int:
        """Return how many health probes the ledger has that generated something."""
        with self.client() as client:
            days = [client.hgetall(name) for name in client.scan_iter(f"{PREFIX}:cost:*")]
        calls = [(field, value) for day in days for field, value in day.items() if field.endswith(b"|calls")]
        return sum(int(value) for field, value in calls if field.startswith(PROBE_TENANT))

    def _hatch(self, hatchery: Hatchery, name: str, *arguments: str, before: str = "", **variables: str) -> Hatched:
        self._count += 1
        log = self.folder / f"{name}-{self._count}.log"
        return hatchery.hatch(*arguments, environment=self._environment(**variables), log=log, before=before)

    def _environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "REDIS_URL": self.redis_url, "AI_PROVIDER_SANDBOX_URL": self.sandbox.url,
                "AI_PROVIDER_DATA_DIR": str(self.folder), "AI_PROVIDER_HOST": "127.0.0.1",
                "AI_PROVIDER_PORT": str(self.port), "LOG_LEVEL": "info", **self.variables, **more}  # fmt: skip

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _said_ready(process: Hatched) -> bool:
    assert process.lives, f"{process.log.name} ended: {process.said()[-2_000:]}"
    return "Worker is ready" in process.said()
