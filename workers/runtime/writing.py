"""What is written when a delivery ends: the job's end, its wait for a provider, or its old place in line."""

from __future__ import annotations

import asyncio
from typing import Any

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.error_core import ErrorHandler, StoreError
from infrastructure.core.logger_core import CoreLogger
from infrastructure.core.performance_core import PerformanceTracker
from infrastructure.core.performance_core.operations import COMPLETE
from workers.jobs.bell import Bell
from workers.jobs.ids import new_nonce
from workers.jobs.models import Claimed, Outcome, Put
from workers.jobs.store.job_store import JobStore
from workers.runtime.running import Aside, Ended

WRITE_AFTER_DEADLINE_S = 60.0
LAST_WRITES_S = 4.0
Summary = dict[str, Any]


class Writer:
    """Writes for one worker process; what it has begun goes on when whoever waits for it is interrupted."""

    def __init__(
        self, store: JobStore, bell: Bell, *, tracker: PerformanceTracker, errors: ErrorHandler, log: CoreLogger
    ) -> None:
        self._store = store
        self._bell = bell
        self._tracker = tracker
        self._errors = errors
        self._log = log
        self._writes: set[asyncio.Task[Summary]] = set()

    def begin(self, job: Claimed, end: Ended | Aside) -> asyncio.Task[Summary]:
        """Begin to write how a delivery ended; returns what the task's result and event say."""
        writing = asyncio.create_task(self._ended(job, end) if isinstance(end, Ended) else self._put_back(job, end))
        self._writes.add(writing)
        writing.add_done_callback(self._writes.discard)
        return writing

    async def drain(self) -> None:
        """Let what has begun be written, for a few seconds."""
        if self._writes:
            _, unwritten = await asyncio.wait(self._writes, timeout=LAST_WRITES_S)
            await end_tasks(unwritten, within_s=1)

    async def hand_back(self, job: Claimed) -> None:
        """Give a job its old place in line, and ring for it."""
        try:
            if await self._store.give_back(job.fence):
                self._bell.ring(job.id)
        except StoreError:
            self._log.warning("Job could not be handed back; rescue will find it")

    async def _ended(self, job: Claimed, end: Ended) -> Summary:
        outcome, answer = end.outcome, end.answer
        written = await self._write(job, outcome)
        if not written:
            self._log.warning("Stale result was refused", context={"status": outcome.status})
        usage = outcome.usage or {}
        return {
            "job": job.id,
            "status": outcome.status.value if written else "stale",
            "provider": answer.provider if answer else None,
            "model": answer.model if answer else None,
            "tokens": usage.get("total_tokens"),
            "cost_usd": outcome.cost_usd,
            "cache": outcome.cache,
            "error": outcome.error[0] if outcome.error else None,
            "config_version": outcome.config_version or job.config_version,
        }

    async def _write(self, job: Claimed, outcome: Outcome) -> bool:
        """Write the outcome, again and again while Redis is away: the call is paid and its fence still guards the job."""
        nonce = new_nonce()
        try:
            with self._tracker.track_operation(COMPLETE):
                return await self._errors.recovering(
                    lambda: self._store.complete(job.fence, outcome, nonce=nonce),
                    context={"operation": COMPLETE, "job_id": job.id},
                    within_s=max(0.0, job.remaining_s) + WRITE_AFTER_DEADLINE_S,
                )
        except StoreError as exc:
            self._log.error("Result could not be written", context={"job_id": job.id}, exc=exc)
            return False

    async def _put_back(self, job: Claimed, end: Aside) -> Summary:
        put_back = end.put_back
        try:
            put = await self._errors.recovering(
                lambda: self._store.put_back(
                    job.fence,
                    delay_ms=put_back.wait_ms,
                    attempts=put_back.attempts,
                    slots=put_back.slots,
                    reason=put_back.reason,
                ),
                context={"operation": "put_back", "job_id": job.id},
                within_s=max(0.0, job.remaining_s),
            )
        except StoreError as exc:
            self._log.error("Job could not be put back; rescue will find it", context={"job_id": job.id}, exc=exc)
            put = Put.STALE
        if put is Put.IN_LINE:
            self._bell.ring(job.id)
        self._log.info("Job waits for a provider", context={"job_id": job.id, "delay_ms": put_back.wait_ms})
        return {"job": job.id, "status": "put_back" if put else "stale", "delay_ms": put_back.wait_ms}
