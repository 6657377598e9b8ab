"""The embedded server: one for a data folder, shared by all who use the folder, stopped by the last of them.

A file lock in the folder serialises coming and going (`door.lock`), another is held by every user while it uses the
server (`users.lock`, shared), a third by the server itself (`server.lock`): Redis does not lock its data, so we do. A
server whose users were all killed lives on and is found by the next.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infrastructure.core.error_core import StoreUnavailable
from infrastructure.optional.locks import FileLock
from infrastructure.optional.redis_process import ServerProcess

START_S = 10.0
DOOR_S = 15.0
END_S = 2.0


class EmbeddedRedis:
    """A user of the embedded server on `folder`; `server` is a program to run in place of the packaged one.

    Example:
        server = EmbeddedRedis(folder)
        url = server.start()
        ...
        server.stop()
    """

    def __init__(self, folder: Path, server: str = "") -> None:
        self._folder = folder
        self._process = ServerProcess(folder, server=server)
        self._users = FileLock(folder / "users.lock")

    @property
    def url(self) -> str:
        """Return the server's URL; the same after a restart of a server that died."""
        return f"unix://{self._process.socket}"

    @property
    def pid(self) -> int | None:
        """Return the server's process id."""
        return self._process.pid

    def start(self) -> str:
        """Join the users, start the server unless one runs, and return its URL once it answers.

        Raises:
            StoreUnavailable: it does not come up within 10 s, or cannot be started here; one sentence says why.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._door():
                self._users.acquire(shared=True, within_s=START_S)
                self._ensure()
        except OSError as exc:
            self.stop()
            raise StoreUnavailable(
                f"the embedded server cannot keep its data in {self._folder}: {exc.strerror}"
            ) from exc
        except StoreUnavailable:
            self.stop()
            raise
        return self.url

    def revive(self) -> bool:
        """Start the server again if it has died; say whether it had.

        Raises:
            StoreUnavailable: it does not come up again.
        """
        if self._process.lives():
            return False
        with self._door():
            if self._process.lives():
                return False
            self._ensure()
        return True

    def stop(self) -> None:
        """Leave; the last user stops the server. Takes 2 s at most, after others have come or gone."""
        self._users.close()
        if not self._folder.is_dir():
            return
        with self._door():
            everybody = FileLock(self._folder / "users.lock")
            if everybody.acquire():
                self._process.end(within_s=END_S)
                everybody.release()

    def _ensure(self) -> None:
        """Wait until the server answers; start it whenever none lives (one that is just ending may still hold its lock)."""
        deadline = time.monotonic() + START_S
        starts = 0
        while not self._process.answers():
            if not self._process.lives():
                if starts > 0:
                    raise self._failed("ended while it started")
                self._process.start()
                starts += 1
            if time.monotonic() > deadline:
                raise self._failed(f"did not answer within {START_S:.0f} s")
            time.sleep(0.02)

    def _failed(self, how: str) -> StoreUnavailable:
        pid = f" (process {self._process.pid})" if self._process.pid and self._process.lives() else ""
        tail = self._process.log_tail()
        return StoreUnavailable(
            f"the embedded server on {self._folder}{pid} {how}" + (f"; its log ends: {tail}" if tail else "")
        )

    @contextmanager
    def _door(self) -> Iterator[None]:
        """Let one user at a time come or go.

        Raises:
            StoreUnavailable: somebody stands in the door for too long.
        """
        door = FileLock(self._folder / "door.lock")
        if not door.acquire(within_s=DOOR_S):
            raise StoreUnavailable(f"another program has kept {self._folder}/door.lock for {DOOR_S:.0f} s")
        try:
            yield
        finally:
            door.release()
