"""The sandbox provider as a real process, with a client of its control plane."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]


class SandboxProcess:
    """A running sandbox. `url` is its base; OpenAI clients take `v1`, Anthropic clients `url`.

    `options` are command line options, such as `--latency`, `0.2`. `for_instance(name)` gives the base of a provider
    that counts and fails by itself.
    """

    def __init__(self, *options: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="aip-sandbox-"))
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self, *, port: int = 0) -> SandboxProcess:
        """Start it and wait, at most 60 s, until it listens."""
        port_file = self._folder / "port"
        port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "workers.providers.sandbox", "--port", str(port),
                   "--port-file", str(port_file), *self._options]  # fmt: skip
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        wait_for(port_file.exists, within_s=60, what="the sandbox listens")
        self.url = f"http://127.0.0.1:{port_file.read_text().strip()}"
        return self

    @property
    def v1(self) -> str:
        """Return the base URL for OpenAI clients."""
        return f"{self.url}/v1"

    @property
    def port(self) -> int:
        """Return its port."""
        return int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        """Return its process id."""
        assert self._process is not None
        return self._process.pid

    def for_instance(self, name: str) -> str:
        """Return the base URL of a provider of its own within this sandbox; OpenAI clients add `/v1`."""
        return f"{self.url}/p/{name}"

    def set_faults(self, *rules: dict[str, Any]) -> None:
        """Put these fault rules in place of all others, such as `{"preset": "openai-500", "times": 1}`."""
        self.control("PUT", "faults", list(rules))

    def faults(self) -> Any:
        """Return the rules with how often each matched and hit."""
        return self.control("GET", "faults")

    def counters(self) -> dict[str, Any]:
        """Return the counters."""
        shown: dict[str, Any] = self.control("GET", "counters")
        return shown

    def set_instances(self, **profiles: dict[str, Any]) -> dict[str, Any]:
        """Give instances profiles (`{"latency_s": 0.2, "port": "open"}`); return all of them, with `url` where they have ports."""
        shown: dict[str, Any] = self.control("PUT", "instances", profiles)
        return shown

    def timeline(self) -> dict[str, Any]:
        """Return `now_s`, and by instance and second of arrival what came and what it got."""
        shown: dict[str, Any] = self.control("GET", "timeline")
        return shown

    def reset(self) -> None:
        """Drop all faults and instances, and count from nothing again."""
        self.control("DELETE", "faults")
        self.control("DELETE", "instances")
        self.control("DELETE", "counters")

    def control(self, method: str, name: str, body: Any = None) -> Any:
        """Return the control plane's answer; HTTPError when it refuses."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_sandbox/{name}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read())

    def wait_until_idle(self) -> None:
        """Wait, at most 30 s, until no request is in flight."""
        wait_for(lambda: self.counters()["in_flight"] == 0, what="the sandbox is idle")

    def stop(self) -> int:
        """End it in order and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self.wait()

    def wait(self, *, within_s: float = 10) -> int:
        """Wait until it ended and return its exit status; AssertionError when it does not within the time."""
        process = self._process
        assert process is not None
        wait_for(lambda: process.poll() is not None, within_s=within_s, what="the sandbox ends")
        return process.wait()

    def kill(self) -> None:
        """End it at once, as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    def remove(self) -> None:
        """End it, whatever state it is in, and delete its folder."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def refusing_port() -> socket.socket:
    """Return a bound socket that nobody listens on: connecting to its port is refused while it is open."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held


UNRESOLVABLE = "http://provider.invalid"
"""A base URL whose host no name server knows (RFC 6761)."""


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[SandboxProcess]:
    """One sandbox without latency for the test process."""
    process = SandboxProcess().start()
    yield process
    process.remove()


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> SandboxProcess:
    """Return the sandbox without faults, its counters at nothing."""
    sandbox_process.reset()
    return sandbox_process
