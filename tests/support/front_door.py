"""The front door as a real process, and jobs ended as a worker ends them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.support.waiting import wait_for
from workers.jobs.codec import pack
from workers.jobs.models import COMPLETION_CLASSES, Outcome, Status
from workers.jobs.store.job_store import JobStore

BODY: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": "What is 6 times 7?"}]}
RESULT: dict[str, Any] = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "sandbox-small",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "42"}}],
}  # fmt: skip
SANDBOX = "http://127.0.0.1:1"
"""An address where no sandbox is: the front door never calls it."""


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def complete_next(store: JobStore, *, status: Status = Status.COMPLETED) -> str:
    """Claim the next job and end it; return its id."""
    claimed = await store.claim("worker-of-the-test", nonce=uuid4().hex, classes=COMPLETION_CLASSES)
    assert claimed is not None
    outcome = Outcome(
        status=status,
        result=pack(RESULT) if status is Status.COMPLETED else None,
        error=None if status is Status.COMPLETED else ("rate_limited", "slow down"),
        usage={"total_tokens": 9},
        cost_usd=0.25,
    )
    assert await store.complete(claimed.fence, outcome, nonce=uuid4().hex)
    return claimed.id


class FrontDoorProcess:
    """`python -m api.main` on a free port, with its own data folder."""

    def __init__(self, redis_url: str, **variables: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = tempfile.TemporaryDirectory(prefix="aip-front-")
        self._errors = Path(self._folder.name) / "stderr"
        self._log = Path(self._folder.name) / "stdout"
        self._environment = {
            **os.environ,
            "REDIS_URL": redis_url,
            "AI_PROVIDER_PORT": str(self.port),
            "AI_PROVIDER_DATA_DIR": self._folder.name,
            "AI_PROVIDER_SANDBOX_URL": SANDBOX,
            **variables,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> FrontDoorProcess:
        """Start the process; wait until it lives, unless told not to."""
        with self._errors.open("wb") as errors, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "api.main"], env=self._environment, stderr=errors, stdout=log
            )
        if wait:
            try:
                wait_for(lambda: self.answers("/health"), within_s=30, what="the front door lives")
            except AssertionError:
                self.remove()  # nobody holds what was never given
                raise
        return self

    def answers(self, path: str) -> bool:
        """Say whether a path answers 200."""
        try:
            return httpx.get(self.url + path, timeout=5).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def cpu_s(self) -> float:
        """Return the processor time that the process has used, in seconds."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """End the process within 10 s and return its exit status."""
        assert self.process is not None
        self.process.send_signal(signum)
        return self.process.wait(10)

    def stderr(self) -> str:
        """Return what the process said on standard error."""
        return self._errors.read_text()

    def log_lines(self, pattern: str) -> list[str]:
        """Return the lines of its log that match."""
        return [line for line in self._log.read_text().splitlines() if re.search(pattern, line)]

    def remove(self) -> None:
        """End the process, if it lives, and delete its folder."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self._folder.cleanup()
