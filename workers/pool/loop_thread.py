"""The one event loop of a worker process, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import uvloop

from infrastructure.core.logger_core import get_logger
from workers.pool.hooks import WorkerHooks

log = get_logger("ai-provider", "loop_thread")

_LOOK_S = 0.1


class LoopThread:
    """A uvloop loop that lives from `start` to `stop`, with the hooks' lifespan around all that it runs.

    Calls from another thread are handed over in batches: while one wake-up is on its way the rest only joins the queue,
    since each hand-over of the interpreter lock costs more than the call.
    """

    def __init__(self, hooks: WorkerHooks) -> None:
        self._hooks = hooks
        self._thread = threading.Thread(target=self._main, name="pool-loop", daemon=True)
        self._inbox: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._woken = False
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._draining: asyncio.Task[None] | None = None

    def start(self, give_up: Callable[[], object]) -> None:
        """Start the thread and wait until the lifespan is entered.

        Args:
            give_up: Called ten times a second meanwhile; may raise to end the waiting.

        Raises:
            TimeoutError: the lifespan was not entered within `start_s`.
            Exception: what the lifespan raised.
        """
        self._thread.start()
        deadline = time.monotonic() + self._hooks.start_s
        while time.monotonic() < deadline:
            give_up()
            try:
                self._loop = self._started.result(_LOOK_S)
            except TimeoutError:
                if self._started.done():
                    raise
            else:
                return
        raise TimeoutError(f"expected the worker's runtime to start within {self._hooks.start_s} s, it did not")

    def call(self, fn: Callable[..., object], *args: Any) -> None:
        """Have the loop call a function soon, in order."""
        self._inbox.append((fn, args))
        if not self._woken and self._loop is not None:
            self._woken = True
            self._loop.call_soon_threadsafe(self._work_off)

    def drain(self) -> None:
        """Tell the hook that a shutdown began."""
        self.call(self._begin_drain)

    def stop(self) -> None:
        """Leave the lifespan and end the thread, within `stop_s`. May be called again."""
        if self._loop is None or not self._thread.is_alive():
            return
        self.call(self._end)
        self._thread.join(self._hooks.stop_s)
        if self._thread.is_alive():
            log.error("The worker's runtime did not stop in time", context={"stop_s": self._hooks.stop_s})
        self._loop = None  # a cold shutdown comes here twice; what it still calls has nobody to run it

    def _work_off(self) -> None:
        self._woken = False  # before the queue is read: a call that comes later wakes the loop again
        while self._inbox:
            fn, args = self._inbox.popleft()
            fn(*args)

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._live())
        except BaseException as exc:  # noqa: BLE001  a thread has nobody else to tell
            if self._started.done():
                log.error("The worker's runtime ended badly", exc=exc)
            else:
                self._started.set_exception(exc)

    async def _live(self) -> None:
        self._ending = asyncio.Event()
        async with self._hooks.lifespan():
            self._started.set_result(asyncio.get_running_loop())
            await self._ending.wait()
            if self._draining is not None:
                self._draining.cancel()

    def _begin_drain(self) -> None:
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        try:
            await self._hooks.drain()
        except Exception as exc:  # noqa: BLE001  the shutdown goes on without it
            log.error("The drain hook failed", exc=exc)

    def _end(self) -> None:
        if self._ending is not None:
            self._ending.set()
