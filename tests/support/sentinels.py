"""A master, its replica and their sentinels: real servers on loopback, in a folder of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from tests.support.redis_server import server_binary
from tests.support.waiting import wait_for

MASTER = "aip"
DOWN_AFTER_MS = 1_000
"""With one sentinel; with several it is twice that, so that a busy machine does not make them fail over for nothing."""


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server, or sentinel, on a port that it keeps."""

    def __init__(self, folder: Path, name: str, *options: str) -> None:
        self.port = free_port()
        self._folder = folder / name
        self._folder.mkdir()
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> redis.Redis:
        """Return a client of this very server."""
        return redis.Redis(port=self.port, socket_timeout=2, decode_responses=True)

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        command = [server_binary(), *options, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), *self._options]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.answers, what="the server answers")

    def start_sentinel(self, master_port: int, *, quorum: int) -> None:
        """Start it as a sentinel that watches a master."""
        configured = self._folder / "sentinel.conf"
        configured.write_text(
            f"sentinel monitor {MASTER} 127.0.0.1 {master_port} {quorum}\n"
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS * quorum}\n"
            f"sentinel failover-timeout {MASTER} 1000\nsentinel parallel-syncs {MASTER} 1\n"
        )
        command = [server_binary(), str(configured), "--sentinel", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.answers, what="the sentinel answers")

    def answers(self) -> bool:
        """Say whether it answers."""
        with contextlib.suppress(redis.RedisError), self.client as client:
            return bool(client.ping())
        return False

    def thaw(self) -> None:
        """Let a frozen server go on."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self, signum: int = signal.SIGKILL) -> None:
        """End it, by default as a crash does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signum)
            os.kill(self.process.pid, signal.SIGCONT)
            self.process.wait(10)


class Sentinels:
    """Starts two servers and some sentinels; `url` is what the service is told."""

    def __init__(self, *, sentinels: int = 1) -> None:
        self._count = sentinels

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        self.remove()

    def start(self) -> Self:
        """Start all and wait until each knows the others."""
        self.folder = Path(tempfile.mkdtemp(prefix="aip-sentinel-"))
        durable = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--repl-diskless-sync-delay", "0")
        self.servers = [Server(self.folder, name, *durable) for name in ("first", "second")]
        self.sentinels = [Server(self.folder, f"sentinel{number}") for number in range(self._count)]
        first, second = self.servers
        first.start()
        second.start("--replicaof", f"127.0.0.1 {first.port}")
        wait_for(lambda: self._follows(second), what="the replica follows")
        for one in self.sentinels:
            one.start_sentinel(first.port, quorum=self._count // 2 + 1)
        wait_for(lambda: all(self._knows(one) for one in self.sentinels), what="the sentinels know all")
        return self

    def remove(self) -> None:
        """End all and delete the folder."""
        for one in [*self.sentinels, *self.servers]:
            one.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """Return the URL of whatever is the master."""
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{hosts}/0?master={MASTER}"

    @property
    def master(self) -> Server:
        """Return the server that the sentinels hold to be the master."""
        with self.sentinels[0].client as client:
            _, port = client.sentinel_get_master_addr_by_name(MASTER)
        return next(one for one in self.servers if one.port == int(port))

    @property
    def other(self) -> Server:
        """Return the server that is not the master."""
        return next(one for one in self.servers if one is not self.master)

    def fail_over(self, signum: int = signal.SIGKILL, *, within_s: float = 20) -> Server:
        """Kill (or freeze) the master and wait until another one is; return the old one."""
        old = self.master
        assert old.process is not None
        old.process.send_signal(signum)
        wait_for(lambda: self.master is not old and _is_master(self.master), within_s=within_s, what="another master")
        return old

    def bring_back(self, server: Server) -> None:
        """Start a killed server again, or thaw it, and wait until one follows the other."""
        if server.process is not None and server.process.poll() is None:
            os.kill(server.process.pid, signal.SIGCONT)
        else:
            server.start("--replicaof", f"127.0.0.1 {self.master.port}")
        wait_for(lambda: any(map(self._follows, self.servers)), within_s=60, what="one server follows the other")

    @staticmethod
    def _follows(server: Server) -> bool:
        told = _replication(server)
        return told.get("role") == "slave" and told.get("master_link_status") == "up"

    def _knows(self, sentinel: Server) -> bool:
        with sentinel.client as client:
            told: Any = client.sentinel_master(MASTER)
        return int(told["num-slaves"]) == 1 and int(told["num-other-sentinels"]) == self._count - 1


def _is_master(server: Server) -> bool:
    return _replication(server).get("role") == "master"


def _replication(server: Server) -> dict[str, Any]:
    with contextlib.suppress(redis.RedisError), server.client as client:
        told: dict[str, Any] = client.info("replication")
        return told
    return {}
