"""The Celery pool whose task bodies are coroutines on one event loop per worker process.

Chosen with `CELERY_CUSTOM_WORKER_POOL=workers.pool.task_pool:TaskPool` and `-P custom`. Celery's side (accepting, acknowledging,
events, figures) stays on the main thread, with the consumer and its hub, which are not safe to call from another; only
the tracer and the body run on the loop. What one side wants of the other crosses in batches.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from celery import Celery
from celery.concurrency.base import BasePool
from celery.exceptions import ImproperlyConfigured
from celery.worker import state
from kombu.asynchronous import get_event_loop

from infrastructure.core.logger_core import get_logger
from workers.pool.bridge import Drained, Revoked
from workers.pool.hooks import WorkerHooks, hooks_of
from workers.pool.last_resort import LastResort
from workers.pool.loop_thread import LoopThread
from workers.pool.run import Run, Traced

log = get_logger("ai-provider", "pool")

_LOOK_S = 0.02
_MARGIN_S = 5.0  # beyond what the steps of a shutdown are given, for those of Celery


class TaskPool(BasePool):
    """Runs at most `limit` (`-c`) bodies at once; see FACTS' pool contract for what Celery asks of it."""

    signal_safe = False
    is_green = False
    uses_semaphore = False
    task_join_will_block = True
    body_can_be_buffer = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hooks: WorkerHooks = hooks_of(self.app)
        self._loop = LoopThread(self._hooks)
        self._hub: Any = None
        self._pids = count(1)
        self._runs: dict[int, Run] = {}
        self._waiting: deque[Run] = deque()
        self._outbox: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._woken = False
        self._draining = False
        self._hurried = False
        self._last_resort = LastResort()

    @staticmethod
    def prepare(app: Celery, **hooks: Any) -> None:
        """Give an app the hooks of its workers; see `WorkerHooks` for their names."""
        app.worker_hooks = WorkerHooks(**hooks)  # type: ignore[attr-defined]

    def on_start(self) -> None:
        """Start the loop and the runtime on it, before the consumer connects.

        Raises:
            ImproperlyConfigured: the broker's transport has no event loop.
        """
        self._hub = get_event_loop()
        if self._hub is None:
            raise ImproperlyConfigured("expected a broker that Celery polls with its event loop (Redis), got another")
        self._hub.on_tick.add(self._settle)
        try:
            self._loop.start(self._while_starting)
        except BaseException:
            self._loop.stop()
            raise

    def _while_starting(self) -> None:
        self._hooks.show_life(consuming=False)
        state.maybe_shutdown()

    def hurry(self) -> None:
        """Wait for nothing more in the shutdown: what runs is handed back now. Also from a signal handler."""
        self._hurried = True

    def on_apply(  # type: ignore[override]  # the stub's None is what the base class does, not what it asks for
        self,
        target: Callable[..., Traced],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,  # noqa: ARG002  Celery passes none to its tracer
        *,
        callback: Callable[[Traced], object],
        accept_callback: Callable[[int, float], object],
        timeout_callback: Callable[[bool, float], object],
        soft_timeout: float | None = None,
        timeout: float | None = None,
        correlation_id: str = "",
        **_: Any,
    ) -> Run:
        """Begin a task, or keep it until a place is free; returns at once."""
        run = Run(
            pool=self,
            pid=next(self._pids),
            task_id=correlation_id,
            target=target,
            args=tuple(args),
            callback=callback,
            accept_callback=accept_callback,
            timeout_callback=timeout_callback,
            soft_s=soft_timeout or self.options.get("soft_timeout"),
            hard_s=timeout or self.options.get("timeout"),
            grace_s=self._hooks.grace_s,
        )
        self._waiting.append(run)
        self._admit()
        return run

    def terminate_job(self, pid: int, signal: int | None = None) -> None:  # noqa: ARG002  a coroutine has no signals
        """Stop a body without its callback: as revoked, or to hand its work back when nobody revoked it."""
        run = self._runs.get(pid)
        if run is not None and not run.terminated:
            run.terminated = True
            if self._draining:  # a cold shutdown, on top of a warm one
                self._last_resort.within(self._end_s())
            self._loop.call(run.interrupt, Revoked() if run.task_id in state.revoked else Drained())

    def on_close(self) -> None:
        """Tell the runtime that a shutdown began."""
        self._draining = True
        self._last_resort.within(self._hooks.drain_s + self._end_s())
        self._loop.drain()

    def on_stop(self) -> None:
        """Wait for what runs, at most `drain_s`, have the rest handed back, and end the loop.

        A cold shutdown calls this from its signal handler, perhaps while the warm one waits here.
        """
        self.on_close()
        if not self._wait(self._end_s() if state.should_terminate else self._hooks.drain_s):
            log.warning("Drain is over, handing back what runs", context={"running": len(self._runs)})
            self._end_all()
        self._loop.stop()
        self._settle()

    def on_terminate(self) -> None:
        """Have what runs handed back, and end the loop."""
        self.on_close()
        self._end_all()
        self._loop.stop()
        self._settle()

    def post(self, fn: Callable[..., object], *args: Any) -> None:
        """Have the main thread call a function soon, in order (loop thread)."""
        self._outbox.append((fn, args))
        if not self._woken and self._hub is not None:
            self._woken = True
            self._hub.call_soon(self._settle)

    def finish(self, run: Run) -> None:
        """Free a run's place and tell Celery how it ended (main thread)."""
        self._runs.pop(run.pid, None)
        if run.terminated:
            pass  # Celery announced it when it asked for it
        elif run.overdue:
            run.timeout_callback(False, run.hard_s or 0)  # noqa: FBT003  Celery's signature
        elif run.result is not None:
            run.callback(run.result)
        self._admit()

    def _admit(self) -> None:
        while self._waiting and len(self._runs) < self.limit and not self._draining:
            run = self._waiting.popleft()
            self._runs[run.pid] = run
            run.accept_callback(run.pid, time.monotonic())
            if run.terminated:  # revoked while it waited: Celery says so as soon as it is accepted
                del self._runs[run.pid]
            else:
                self._loop.call(run.begin)

    def _settle(self) -> None:
        """Do what the loop asked for. Also called at every tick of the hub, which drops callbacks when it is reset."""
        self._woken = False
        while self._outbox:
            fn, args = self._outbox.popleft()
            try:
                fn(*args)
            except Exception as exc:  # noqa: BLE001  one task's account must not spoil another's
                log.error("A task's callback failed", exc=exc)

    def _end_s(self) -> float:
        """Return how long the end may take once nothing more is waited for."""
        return self._hooks.grace_s + self._hooks.stop_s + _MARGIN_S

    def _end_all(self) -> None:
        for run in list(self._runs.values()):
            if not run.terminated:
                self._loop.call(run.interrupt, Drained())
        if not self._wait(self._hooks.grace_s + 1):
            log.error("Bodies were left behind", context={"running": len(self._runs)})

    def _wait(self, within_s: float) -> bool:
        """Wait until nothing runs, keeping acknowledgements and events going; False when time is up, or at `hurry`."""
        deadline, hurried = time.monotonic() + within_s, self._hurried
        while self._runs:
            if time.monotonic() > deadline or self._hurried != hurried:
                return False
            self._hooks.show_life(consuming=False)
            self._flush()
            time.sleep(_LOOK_S)
        self._flush()
        return True

    def _flush(self) -> None:
        """Do the hub's work that must not wait for the end of the shutdown; the hub itself stands still by now."""
        self._settle()
        if self._hub is None:
            return
        for todo in self._hub._pop_ready():  # noqa: SLF001  kombu has no public name for it; its prefork pool does so
            try:
                todo()
            except Exception as exc:  # noqa: BLE001  as the hub does
                log.error("A callback of the consumer failed", exc=exc)

    def _get_info(self) -> dict[str, Any]:
        return {
            "implementation": "workers.pool.task_pool:TaskPool",
            "max-concurrency": self.limit,
            "in-flight": len(self._runs),
            "waiting": len(self._waiting),
            "draining": self._draining,
        }
