"""The doorbell: tells Celery that a job is ready, from a thread of its own, in batches.

Ringing never blocks and never fails the caller: the job is in the store already, and the ringer rings again for what was
not heard. A message carries a job's id and nothing else.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple
from uuid import uuid4

from celery import Celery
from kombu import Producer

from infrastructure.core.config_core import Settings
from infrastructure.core.logger_core import get_logger
from workers import queues

BATCH = 200
MAX_WAITING = 100_000  # beyond this the ringer takes over; at 0.2 ms a ring this is 20 s of work
PAUSE_AFTER_FAILURE_S = 1.0


class Errand(NamedTuple):
    """An upkeep task that somebody wants done before beat says so; it is done once in `every_s` all the same."""

    task: str
    every_s: float


class Bell:
    """Publisher thread for completion messages; one for each process that rings."""

    def __init__(self, settings: Settings) -> None:
        """Prepare the publisher; nothing is connected before the first ring.

        Raises:
            ConfigError: no broker is configured.
        """
        self._app = Celery("ai-provider", set_as_current=False)
        self._app.conf.update(queues.celery_settings(settings))
        self._waiting: deque[str | Errand | None] = deque(maxlen=MAX_WAITING)
        self._rung: dict[str, float] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._log = get_logger(settings.service.name, "bell")

    def start(self) -> None:
        """Start the thread."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)
        self._thread.start()

    def ping(self) -> None:
        """Say by an exception that nothing is rung.

        Raises:
            RuntimeError: the thread was not started, or has ended.
        """
        if self._thread is None or not self._thread.is_alive():
            raise RuntimeError("expected the bell's thread to run, got none")

    def ring(self, job_id: str | None = None) -> None:
        """Queue one message, with a hint which job made it necessary; safe from any thread, never blocks."""
        self._waiting.append(job_id)
        self._wake.set()

    def ring_upkeep(self, task: str, every_s: float) -> None:
        """Queue a message for upkeep, unless one was rung within `every_s`; safe from any thread, never blocks."""
        now = time.monotonic()
        if now - self._rung.get(task, -every_s) >= every_s:
            self._rung[task] = now
            self._waiting.append(Errand(task, every_s))
            self._wake.set()

    def stop(self, *, timeout_s: float = 3.0) -> None:
        """Send what waits, as far as it goes within `timeout_s` seconds, and end the thread."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            heard = True
            while self._waiting and heard:
                heard = self._ring_batch()
            if self._stopping.is_set():
                return
            if not heard:
                self._stopping.wait(PAUSE_AFTER_FAILURE_S)
                self._wake.set()

    def _ring_batch(self) -> bool:
        """Publish up to a batch; what could not be sent stays for the next try. False when the broker did not answer."""
        taken = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        try:
            with self._app.producer_pool.acquire(block=True, timeout=5) as producer, producer.batch(2 * BATCH):  # type: ignore[attr-defined]  # newer than the stubs
                for job_id in taken:
                    self._publish(producer, job_id)
        except Exception as exc:  # noqa: BLE001  whatever kombu raises, the thread goes on and tries again
            # Some may have gone out: a surplus bell claims nothing.
            self._waiting.extendleft(reversed(taken))
            self._log.warning("Broker does not answer, ringing later", context={"waiting": len(self._waiting), "error_type": type(exc).__name__})  # fmt: skip
            return False
        return True

    def _publish(self, producer: Producer, job_id: str | Errand | None) -> None:
        if isinstance(job_id, Errand):
            self._app.send_task(
                job_id.task, args=(job_id.every_s,), producer=producer, retry=False, ignore_result=True
            )  # fmt: skip
            return
        hint = job_id or ""
        self._app.send_task(
            queues.TASK_COMPLETION,
            args=(hint,),
            task_id=job_id or str(uuid4()),
            producer=producer,
            argsrepr=f"('{hint}',)",
            kwargsrepr="{}",
            retry=False,
            ignore_result=True,
        )
