"""The embedded server: one for a data folder, shared by all who use the folder, stopped by the last of them.

Three file locks in the folder: `door.lock` lets one user at a time come or go, `users.lock` is held (shared) by every user
while it uses the server, `server.lock` by the server itself, since Redis does not lock its data. A server whose users were
all killed lives on and is found by the next.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infrastructure.core.error_core import StoreUnavailable
from infrastructure.optional.embedded_redis.locks import FileLock
from infrastructure.optional.embedded_redis.redis_process import LOOK_EVERY_S, Health, ServerProcess

START_S = 10.0
LOADING_S = 300.0
ENTER_S = 15.0
LEAVE_S = 0.5
END_S = 1.5


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
        self._door = FileLock(folder / "door.lock")
        self._use = FileLock(folder / "users.lock")

    @property
    def url(self) -> str:
        """Return the server's URL; the same after a restart of a server that died."""
        return f"unix://{self._process.socket}"

    @property
    def pid(self) -> int | None:
        """Return the server's process id; None when it does not live."""
        return self._process.pid

    def start(self) -> str:
        """Join the users, start the server unless one runs, and return its URL once it answers.

        Raises:
            StoreUnavailable: it does not answer within 10 s (300 s while it reads its data) or cannot be started.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._through_the_door():
                self._use.acquire(shared=True)  # nobody holds it alone outside the door
                self._ensure()
        except OSError as exc:
            raise StoreUnavailable(f"the embedded server cannot work in {self._folder}: {exc.strerror}") from exc
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
        with self._through_the_door():
            self._ensure()
        return True

    def stop(self) -> None:
        """Leave; the last user stops the server. Takes at most 2 s."""
        self._use.close()
        # A door that stays shut is held by somebody who starts the server to use it: then it is not ours to stop.
        if self._folder.is_dir() and self._door.acquire(within_s=LEAVE_S):
            everybody = FileLock(self._folder / "users.lock")
            if everybody.acquire():
                self._process.end(within_s=END_S)
                everybody.release()
            self._door.release()

    def _ensure(self) -> None:
        """Start the server if none lives, and wait until it answers; one that just ends may hold its lock for a moment."""
        started, begun = False, time.monotonic()
        while (health := self._process.health()) is not Health.ANSWERS:
            if not self._process.lives():
                if started:
                    raise self._failed("ended while it started")
                self._process.start()
                started = True
            if time.monotonic() - begun > (LOADING_S if health is Health.LOADING else START_S):
                raise self._failed(f"did not answer within {START_S:.0f} s")
            time.sleep(LOOK_EVERY_S)

    def _failed(self, how: str) -> StoreUnavailable:
        process = f" (process {self.pid})" if self.pid else ""
        tail = self._process.log_tail()
        return StoreUnavailable(
            f"the embedded server on {self._folder}{process} {how}" + (f"; its log ends: {tail}" if tail else "")
        )

    @contextmanager
    def _through_the_door(self) -> Iterator[None]:
        if not self._door.acquire(within_s=ENTER_S):
            raise StoreUnavailable(f"another program has kept {self._folder}/door.lock for {ENTER_S:.0f} s")
        try:
            yield
        finally:
            self._door.release()
