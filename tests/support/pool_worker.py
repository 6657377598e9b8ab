"""A real worker process on the test's Redis, and what it tells: its tasks' notes, its events, its answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import redis
from celery import Celery

from infrastructure.core.redis_core import celery_url
from tests.support.waiting import wait_for


class PoolWorker:
    """`celery worker -P custom` over `tests.support.pool_app`, in its own process."""

    def __init__(self, url: str, folder: Path, *, concurrency: int, **env: str) -> None:
        self.redis = redis.Redis.from_url(url, decode_responses=True)
        self.alive = folder / "alive"
        self.log = folder / "worker.log"
        self.app = client_app(url)
        self._command = [sys.executable, "-m", "celery", "-q", "-A", "tests.support.pool_app", "worker", "-P", "custom",
                         "-c", str(concurrency), "--without-mingle", "--without-gossip", "-l", "warning",
                         "-n", f"pool{os.getpid()}@test"]  # fmt: skip
        self._env = {**os.environ, "POOL_APP_REDIS": url, "POOL_APP_ALIVE": str(self.alive),
                     "CELERY_CUSTOM_WORKER_POOL": "workers.pool.task_pool:TaskPool", **env}  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> PoolWorker:
        """Start the process and wait until it consumes."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._env, stdout=log, stderr=log)
        wait_for(lambda: self.alive.exists() or self.ended(), within_s=60, what="a worker that consumes")
        assert not self.ended(), self.log.read_text()
        return self

    def ended(self) -> bool:
        """Say whether the process has ended."""
        return self.process is None or self.process.poll() is not None

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(signum)

    def wait(self, within_s: float = 60) -> int:
        """Wait for the end; the exit status."""
        assert self.process is not None
        return self.process.wait(within_s)

    def remove(self) -> None:
        """End the process however it takes."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        self.redis.close()
        self.app.close()

    def send(self, name: str, *args: Any, **options: Any) -> str:
        """Send a task; its id."""
        return str(self.app.send_task(name, args=args, **options).id)

    def open(self, gate: str) -> None:
        """Let those go on who wait at a gate."""
        self.redis.rpush("open", gate)

    def notes(self, key: str, count: int = 1, within_s: float = 30) -> list[str]:
        """Wait until a list has so many entries; the list."""
        wait_for(lambda: self.redis.llen(key) >= count, within_s=within_s, what=f"{count} entries in {key}")
        return [str(entry) for entry in self.redis.lrange(key, 0, -1)]

    def ask(self, what: str) -> Any:
        """Return the worker's answer to a `celery inspect` command."""
        inspector = self.app.control.inspect(timeout=10, limit=1)
        answers = wait_for(getattr(inspector, what), what=f"an answer to inspect {what}")
        return next(iter(answers.values()))

    def cpu_s(self) -> float:
        """Return the processor time used so far."""
        assert self.process is not None
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def rss_mb(self) -> float:
        """Return the resident size."""
        assert self.process is not None
        return float(psutil.Process(self.process.pid).memory_info().rss / 1e6)


class Events:
    """Receives a worker's task events in a thread."""

    def __init__(self, url: str) -> None:
        self._app = client_app(url)
        self._found: list[dict[str, Any]] = []
        self._stop = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        assert self._ready.wait(30)

    def of(self, task_id: str, last: str, within_s: float = 30) -> list[str]:
        """Wait for a task's last event; the names of all its events."""
        wait_for(lambda: last in self._names(task_id), within_s=within_s, what=f"{last} of {task_id}")
        return self._names(task_id)

    def one(self, task_id: str, name: str) -> dict[str, Any]:
        """Return one event of a task."""
        return next(e for e in list(self._found) if e.get("uuid") == task_id and e["type"] == name)

    def close(self) -> None:
        """End the thread."""
        self._stop = True
        self._thread.join(30)
        self._app.close()

    def _names(self, task_id: str) -> list[str]:
        return [e["type"] for e in list(self._found) if e.get("uuid") == task_id]

    def _listen(self) -> None:
        with self._app.connection_for_read() as connection:
            receiver = self._app.events.Receiver(connection, handlers={"*": self._found.append})
            with receiver.consumer_context() as (own_connection, _, _):
                self._ready.set()
                while not self._stop:
                    with suppress(TimeoutError):
                        own_connection.drain_events(timeout=0.1)


def client_app(url: str) -> Celery:
    """Return an app that sends to the workers under test."""
    app = Celery("pool_client", set_as_current=False)
    app.conf.update(
        broker_url=celery_url(url), task_default_queue="pool", task_ignore_result=True, task_serializer="json"
    )
    return app
