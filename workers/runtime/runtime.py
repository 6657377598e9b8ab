"""What one worker process holds while it lives: its store, its lease, its provider manager and the jobs it runs."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.asyncio_core import end_tasks, within
from infrastructure.core.config_core import CoreConfig, Settings, Snapshot
from infrastructure.core.error_core import Retry, StoreError
from infrastructure.core.logger_core import bound_contextvars, get_logger
from infrastructure.core.performance_core.observing import observe
from infrastructure.core.performance_core.operations import AI_COMPLETION, CLAIM, COMPLETE, QUEUE_WAIT
from infrastructure.core.redis_core import connect
from infrastructure.optional.container_core import Lifetime, Registry
from infrastructure.optional.event_core import EventBus
from workers.handlers.completion import broken, complete
from workers.jobs import topics
from workers.jobs.bell import Bell
from workers.jobs.codec import unpacked_bytes
from workers.jobs.models import Claimed, Outcome, ReadyClass, Status
from workers.jobs.store.job_store import JobStore
from workers.pool.bridge import HardLimit, Revoked, SoftLimit
from workers.providers.litellm_manager import Answer, LiteLLMManager
from workers.queues import broker_url
from workers.runtime.admission import Admission
from workers.runtime.held import Held
from workers.runtime.lease import Lease, listen, new_owner
from workers.runtime.versions import Versions

BODIES_BYTES = 256_000_000
WRITE_AGAIN_S = 1.0
WRITE_AFTER_DEADLINE_S = 60.0
Summary = dict[str, Any]


@dataclass(eq=False, slots=True)
class Running:
    """A job in this process: its call, and whether somebody else has taken the job from us."""

    job: Claimed
    hint: str = ""
    """The job whose message this is; what is due may be another one."""
    call: asyncio.Task[tuple[Outcome, Answer | None]] | None = None
    writing: bool = False
    taken: bool = False

    def stop(self) -> None:
        """Stop the call of a job that is not ours any more."""
        if not self.writing:
            self.taken = True
            if self.call is not None:
                self.call.cancel()


class Runtime:
    """Claims jobs for the doorbell's messages, runs them, and writes how they ended."""

    def __init__(self, config: CoreConfig, *, kind: str) -> None:
        self.settings = settings = config.settings  # of the start; a job takes what holds at its own
        self._config = config
        self._versions = Versions(config)
        self.owner = new_owner(kind)
        self.log = get_logger(settings.service.name, "worker")
        self.parts = Registry(log=self.log)
        self.parts.register(
            Held, lambda _: Held(config.reloader), lifetime=Lifetime.SCOPE, stop=Held.release
        )  # fmt: skip
        self.redis: Redis = self._connect(settings)
        self.broker: Redis = connect(broker_url(settings), max_connections=4)
        self.store = JobStore(
            self.redis,
            prefix=settings.redis.prefix,
            result_ttl_s=settings.jobs.result_ttl_s,
            lease_s=settings.jobs.lease_s,
            max_deaths=settings.jobs.max_deaths,
        )
        self.bell = Bell(settings)
        self.observation = observe(settings, self.redis, kind=kind, instance=self.owner)
        self.tracker, self.errors = self.observation.tracker, self.observation.errors
        self.errors.register(StoreError, Retry(after_s=WRITE_AGAIN_S, most_s=WRITE_AGAIN_S))
        self.events = EventBus(self.owner, redis=self.redis, prefix=settings.redis.prefix, log=self.log)
        self.manager = LiteLLMManager(lambda: config.settings, events=self.events)
        self.draining = False
        self._manager_ready = asyncio.Lock()
        self._manager_started = False
        self._admission = Admission(limit_bytes=BODIES_BYTES)
        self._running: dict[str, Running] = {}
        self._writes: set[asyncio.Task[Summary]] = set()
        self._lease = Lease(
            self.store,
            owner=self.owner,
            heartbeat_s=settings.jobs.heartbeat_s,
            lease_s=settings.jobs.lease_s,
            running=lambda: frozenset(self._running),
            lost=self._lose,
            strange=self._give_stranger_back,
            log=self.log,
        )

    @property
    def config_version(self) -> str:
        """Return the version of the configuration that holds now."""
        return self._config.settings.version

    @staticmethod
    def _connect(settings: Settings) -> Redis:
        assert settings.redis.url is not None  # noqa: S101  the composition root has checked it
        return connect(settings.redis.url.get_secret_value(), max_connections=settings.redis.max_connections)

    def background(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Return, by name, what goes on for as long as the process lives; Redis may still be away."""
        channel = f"{self.settings.redis.prefix}:stop:{self.owner}"
        return {
            "lease": self._lease.keep,
            "stops": lambda: listen(self.redis, channel, self._lose, log=self.log),
            "memory": self._watch_memory,
        }

    async def ready(self, *, call_providers: bool) -> None:
        """Load LiteLLM where jobs are run, and say that the worker is ready."""
        if call_providers:
            await self._ready_manager()
        self.log.info("Worker is ready", context={"owner": self.owner})
        self.events.publish(topics.WORKER_READY, {"owner": self.owner, "kind": self.owner.partition("@")[0]})

    async def drain(self) -> None:
        """Claim nothing more; what runs may end."""
        self.draining = True
        self.log.info("Worker is draining", context={"running": len(self._running)})
        self.events.publish(topics.WORKER_DRAINING, {"owner": self.owner, "running": len(self._running)})

    async def retire(self) -> None:
        """Let paid answers be written, hand back what is still owned, and leave the fleet."""
        if self._writes:
            _, unwritten = await asyncio.wait(self._writes, timeout=4)
            await end_tasks(unwritten, within_s=1)
        try:
            await within(self.store.retire(self.owner), 5)
        except (StoreError, TimeoutError):
            self.log.warning("Store did not hear the farewell; rescue will find what is left")
        self.events.publish(topics.WORKER_STOPPED, {"owner": self.owner})

    async def run_job(self, hint: str, *, classes: Sequence[ReadyClass]) -> Summary:
        """Claim the next job due, run it, write its end. Returns what the task's result and event say.

        A message for which nothing is claimed is lost on purpose: the job stays ready in the store, and the ringer rings.
        """
        if self.draining:
            return {"status": "draining"}
        try:
            job = await self._claim(hint, classes)
        except StoreError as exc:
            self.errors.handle(exc, {"operation": CLAIM})
            return {"status": exc.code}
        if job is None:
            return {"status": "nothing_ready"}
        with bound_contextvars(job_id=job.id, tenant=job.tenant, request_id=job.request_id):
            async with self._admission.holding(unpacked_bytes(job.request)):
                return await self._run(job)

    async def cancel(self, job_id: str) -> None:
        """Cancel a job whose message was revoked."""
        try:
            await self.store.cancel(job_id, tenant=None)
        except StoreError:
            self.log.warning("Store did not hear a revoke", context={"job_id": job_id})

    async def _claim(self, hint: str, classes: Sequence[ReadyClass]) -> Claimed | None:
        async with self._admission.claiming():
            if self.draining:
                return None
            if not self._lease.holds():
                await self._lease.beat()
            nonce = secrets.token_hex(8)
            with self.tracker.track_operation(CLAIM):
                job = await self.store.claim(self.owner, nonce=nonce, classes=classes, hint=hint or None)
            if job is not None:
                self._running[nonce] = Running(job, hint)
                if job.deliveries == 1:
                    self.tracker.track_operation(QUEUE_WAIT, job.age_ms)
            return job

    async def _run(self, job: Claimed) -> Summary:
        run = self._running[job.fence.nonce]
        try:
            outcome, answer = await self._call(run)
            if outcome is None:
                return {"job": job.id, "status": "cancelled"}
            run.writing = True
            writing = asyncio.create_task(self._finish(job, outcome, answer))
            self._writes.add(writing)
            writing.add_done_callback(self._writes.discard)
            writing.add_done_callback(lambda _: self._running.pop(job.fence.nonce, None))
            return await asyncio.shield(writing)  # an interrupted body leaves its paid answer to the runtime
        finally:
            if not run.writing:
                self._running.pop(job.fence.nonce, None)

    async def _call(self, run: Running) -> tuple[Outcome | None, Answer | None]:
        """Make the call; no outcome when the job was taken from us. An interruption by the pool settles the job first."""
        job = run.job
        try:
            await self._versions.catch_up(job.config_version)
            await self._ready_manager()
            run.call = asyncio.create_task(self._completed(job))
            if run.taken:
                run.call.cancel()
            return await self._outcome(run)
        except Revoked:  # by the id of the message, which is the hinted job's; the one that it woke is innocent
            await self.cancel(run.hint or job.id)
            if run.hint not in {"", job.id}:
                await self._hand_back(job)
            raise
        except (SoftLimit, HardLimit):
            error = ("time_limit_exceeded", "the job ran longer than worker.soft_limit_s allows")
            return Outcome(status=Status.FAILED, error=error, attempts=job.attempts), None
        except Exception as exc:  # noqa: BLE001  whatever it was, the job must end, not be bought again
            self.log.error("Job broke", exc=exc)
            return broken(job, exc), None
        except asyncio.CancelledError:  # drained, stopped by the store, or the loop ends cold
            if run.taken:
                return None, None
            await self._hand_back(job)
            raise

    async def _completed(self, job: Claimed) -> tuple[Outcome, Answer | None]:
        async with self.parts.container() as scope:
            return await self._measured(job, scope.get(Held).snapshot)

    async def _measured(self, job: Claimed, held: Snapshot) -> tuple[Outcome, Answer | None]:
        with self.tracker.track_operation(AI_COMPLETION) as measured:
            outcome, answer = await complete(
                job, manager=self.manager, settings=held.settings, log=self.log, errors=self.errors
            )
            if outcome.error is not None:
                measured.fail(outcome.error[0])
            return replace(outcome, config_version=held.version), answer

    async def _outcome(self, run: Running) -> tuple[Outcome, Answer | None]:
        assert run.call is not None  # noqa: S101
        try:
            async with asyncio.timeout(run.job.remaining_ms / 1000):
                return await run.call
        except TimeoutError:
            error = ("deadline_exceeded", "the job's deadline passed while it ran")
            return Outcome(status=Status.EXPIRED, error=error, attempts=run.job.attempts), None

    async def _finish(self, job: Claimed, outcome: Outcome, answer: Answer | None) -> Summary:
        written = await self._write(job, outcome)
        if not written:
            self.log.warning("Stale result was refused", context={"status": outcome.status})
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
        nonce = secrets.token_hex(8)
        try:
            with self.tracker.track_operation(COMPLETE):
                return await self.errors.recovering(
                    lambda: self.store.complete(job.fence, outcome, nonce=nonce),
                    context={"operation": COMPLETE, "job_id": job.id},
                    within_s=job.remaining_ms / 1000 + WRITE_AFTER_DEADLINE_S,
                )
        except StoreError as exc:
            self.log.error("Result could not be written", context={"job_id": job.id}, exc=exc)
            return False

    async def _hand_back(self, job: Claimed) -> None:
        try:
            if await self.store.give_back(job.fence):
                self.bell.ring(job.id)
        except StoreError:
            self.log.warning("Job could not be handed back; rescue will find it")

    async def _give_stranger_back(self, nonce: str) -> None:
        """Hand back a claim whose answer never arrived: the same nonce brings the same claim, and with it its fence."""
        job = await self.store.claim(self.owner, nonce=nonce, classes=())
        if job is not None:
            self.log.warning("Claim without a runner was handed back", context={"job_id": job.id})
            await self._hand_back(job)

    def _lose(self, nonce: str) -> None:
        if run := self._running.get(nonce):
            run.stop()

    async def _ready_manager(self) -> None:
        """Load LiteLLM once, at the start or (upkeep) at the first job."""
        if self._manager_started:
            return
        async with self._manager_ready:
            if not self._manager_started:
                await self.manager.start()
                self._manager_started = True

    async def _watch_memory(self) -> None:
        """Drain and exit above the memory limit, once; the supervisor starts the next process."""
        while (resident := resident_mb()) < (limit := self._config.settings.worker.memory_mb):  # noqa: ASYNC110  no event tells of memory
            await asyncio.sleep(self.settings.jobs.heartbeat_s)
        self.log.warning("Memory limit is passed, draining", context={"resident_mb": resident, "limit_mb": limit})
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()  # until it is ended: once is enough


def resident_mb() -> float:
    """Return this process's resident memory in megabytes; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
