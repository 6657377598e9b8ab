"""The call of a claimed job: made under one configuration, within its deadline, settled when the pool interrupts it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from infrastructure.core.config_core import Snapshot
from infrastructure.core.error_core import ErrorHandler
from infrastructure.core.logger_core import CoreLogger
from infrastructure.core.performance_core import PerformanceTracker
from infrastructure.core.performance_core.operations import AI_COMPLETION
from infrastructure.optional.container_core import Registry
from workers.handlers.completion import broken, complete
from workers.jobs.models import Claimed, Outcome, Status
from workers.pool.bridge import HardLimit, Revoked, SoftLimit
from workers.providers.litellm_manager import JobGone, LiteLLMManager, PutBack
from workers.runtime.held import Held
from workers.runtime.running import Aside, End, Ended, Gone, Running
from workers.runtime.versions import Versions


class Caller:
    """Makes the calls of one worker process.

    `cancel` ends a job by its id, `hand_back` gives one back that we have: what an interruption of the pool may ask for.
    """

    def __init__(
        self,
        manager: LiteLLMManager,
        *,
        parts: Registry,
        versions: Versions,
        cancel: Callable[[str], Awaitable[None]],
        hand_back: Callable[[Claimed], Awaitable[None]],
        tracker: PerformanceTracker,
        errors: ErrorHandler,
        log: CoreLogger,
    ) -> None:
        self._manager = manager
        self._parts = parts
        self._versions = versions
        self._cancel = cancel
        self._hand_back = hand_back
        self._tracker = tracker
        self._errors = errors
        self._log = log
        self._loading = asyncio.Lock()
        self._loaded = False

    async def load(self) -> None:
        """Load LiteLLM once, at the start or (upkeep) at the first job."""
        if self._loaded:
            return
        async with self._loading:
            if not self._loaded:
                await self._manager.start()
                self._loaded = True

    async def call(self, run: Running) -> End:
        """Make the call. An interruption by the pool settles the job first."""
        job = run.job
        try:
            return await self._within_deadline(run)
        except Revoked:  # by the id of the message, which is the hinted job's; the one that it woke is innocent
            await self._cancel(run.hint or job.id)
            if run.hint not in {"", job.id}:
                await self._hand_back(job)
            raise
        except (SoftLimit, HardLimit):
            error = ("time_limit_exceeded", "the job ran longer than worker.soft_limit_s allows")
            return Ended(Outcome(status=Status.FAILED, error=error, attempts=job.attempts))
        except Exception as exc:  # noqa: BLE001  whatever it was, the job must end, not be bought again
            self._log.error("Job broke", exc=exc)
            return Ended(broken(job, exc))
        except asyncio.CancelledError:  # drained, stopped by the store, or the loop ends cold
            if run.taken:
                return Gone()
            await self._hand_back(job)
            raise

    async def _completed(self, job: Claimed) -> End:
        async with self._parts.container() as scope:
            return await self._measured(job, scope.get(Held).snapshot)

    async def _measured(self, job: Claimed, held: Snapshot) -> End:
        with self._tracker.track_operation(AI_COMPLETION) as measured:
            try:
                outcome, answer = await complete(
                    job, manager=self._manager, settings=held.settings, log=self._log, errors=self._errors
                )
            except PutBack as put_back:
                return Aside(put_back)
            except JobGone:
                return Gone()
            if outcome.error is not None:
                measured.fail(outcome.error[0])
            return Ended(replace(outcome, config_version=held.version), answer)

    async def _within_deadline(self, run: Running) -> End:
        try:
            async with asyncio.timeout(run.job.remaining_s) as timeout:
                await self._versions.catch_up(run.job.config_version)
                await self.load()
                run.call = asyncio.create_task(self._completed(run.job))
                if run.taken:
                    run.call.cancel()
                return await run.call
        except TimeoutError:
            if not timeout.expired():
                raise
            error = ("deadline_exceeded", "the job's deadline passed while it ran")
            return Ended(Outcome(status=Status.EXPIRED, error=error, attempts=run.job.attempts))
