"""What one worker process holds while it lives: its store, its lease, its provider manager and the jobs it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import cached_property
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.asyncio_core import within
from infrastructure.core.config_core import CoreConfig, Settings
from infrastructure.core.error_core import Retry, StoreError
from infrastructure.core.logger_core import bound_contextvars, get_logger
from infrastructure.core.performance_core.observing import observe
from infrastructure.core.performance_core.operations import CLAIM, QUEUE_WAIT
from infrastructure.core.redis_core import connect
from infrastructure.optional.container_core import Lifetime, Registry
from infrastructure.optional.event_core import EventBus
from workers.jobs import topics
from workers.jobs.bell import Bell
from workers.jobs.codec import unpacked_bytes
from workers.jobs.ids import new_nonce
from workers.jobs.models import Claimed, ReadyClass
from workers.jobs.store.job_store import JobStore
from workers.providers.health.prober import Prober
from workers.queues import broker_url
from workers.runtime.admission import Admission
from workers.runtime.calling import Caller
from workers.runtime.delivering import deliverer_of
from workers.runtime.held import Held
from workers.runtime.lease import Lease, listen, new_owner
from workers.runtime.memory import watch_memory
from workers.runtime.probing import prober_of
from workers.runtime.provision import Provision
from workers.runtime.running import Gone, Running
from workers.runtime.versions import Versions
from workers.runtime.writing import Summary, Writer
from workers.webhooks.deliverer import Deliverer

BODIES_BYTES = 256_000_000
WRITE_AGAIN_S = 1.0


class Runtime:
    """Claims jobs for the doorbell's messages, runs them, and writes how they ended."""

    def __init__(self, config: CoreConfig, *, kind: str) -> None:
        self.settings = settings = config.settings  # of the start; a job takes what holds at its own
        self._config = config
        self.owner = new_owner(kind)
        self.log = get_logger(settings.service.name, "worker")
        self.parts = Registry(log=self.log)
        self.parts.register(Held, lambda _: Held(config.reloader), lifetime=Lifetime.SCOPE, stop=Held.release)
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
        told = {"caching": lambda: {"responses": self.provision.cache.get_performance_stats()}}
        self.observation = observe(settings, self.redis, kind=kind, instance=self.owner, sections=told)
        self.tracker, self.errors = self.observation.tracker, self.observation.errors
        self.errors.register(StoreError, Retry(after_s=WRITE_AGAIN_S, most_s=WRITE_AGAIN_S))
        self.events = EventBus(self.owner, redis=self.redis, prefix=settings.redis.prefix, log=self.log)
        self.provision: Provision = Provision(
            config, redis=self.redis, owner=self.owner, events=self.events, ring=self.bell.ring
        )
        self.manager = self.provision.manager
        self.draining = False
        self._admission = Admission(limit_bytes=BODIES_BYTES)
        self._running: dict[str, Running] = {}
        self._writer = Writer(self.store, self.bell, tracker=self.tracker, errors=self.errors, log=self.log)
        self._caller = Caller(
            self.manager,
            parts=self.parts,
            versions=Versions(config),
            cancel=self.cancel,
            hand_back=self._writer.hand_back,
            tracker=self.tracker,
            errors=self.errors,
            log=self.log,
        )
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
    def latest(self) -> Settings:
        """Return the settings that hold now."""
        return self._config.settings

    @property
    def config_version(self) -> str:
        """Return the version of the configuration that holds now."""
        return self.latest.version

    @cached_property
    def prober(self) -> Prober:
        """Return what checks the providers' health."""
        return prober_of(
            self._config,
            self.provision,
            redis=self.redis,
            load=self._caller.load,
            events=self.events,
            tracker=self.tracker,
        )

    @cached_property
    def webhooks(self) -> Deliverer:
        """Return what sends webhooks."""
        return deliverer_of(self._config, redis=self.redis, events=self.events, tracker=self.tracker)

    @staticmethod
    def _connect(settings: Settings) -> Redis:
        assert settings.redis.url is not None  # noqa: S101  the composition root has checked it
        return connect(settings.redis.url.get_secret_value(), max_connections=settings.redis.max_connections)

    def background(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Return, by name, what goes on for as long as the process lives; Redis may still be away."""
        channel = f"{self.settings.redis.prefix}:stop:{self.owner}"
        limit_mb = lambda: self._config.settings.worker.memory_mb  # noqa: E731
        return {
            "lease": self._lease.keep,
            "stops": lambda: listen(self.redis, channel, self._lose, log=self.log),
            "memory": lambda: watch_memory(limit_mb, every_s=self.settings.jobs.heartbeat_s, log=self.log),
            **self.provision.background(),
        }

    async def ready(self, *, call_providers: bool) -> None:
        """Load LiteLLM where jobs are run, and say that the worker is ready."""
        if call_providers:
            await self._caller.load()
        self.log.info("Worker is ready", context={"owner": self.owner})
        self.events.publish(topics.WORKER_READY, {"owner": self.owner, "kind": self.owner.partition("@")[0]})

    def lacks(self) -> tuple[str, ...]:
        """Return what is missing to take jobs now."""
        lease = () if self._lease.holds() else ("lease",)
        return (*lease, "draining") if self.draining else lease

    async def drain(self) -> None:
        """Claim nothing more; what runs may end."""
        self.draining = True
        self.log.info("Worker is draining", context={"running": len(self._running)})
        self.events.publish(topics.WORKER_DRAINING, {"owner": self.owner, "running": len(self._running)})

    async def retire(self) -> None:
        """Let paid answers be written and calls be booked, hand back what is still owned, and leave the fleet."""
        await asyncio.gather(self._writer.drain(), self.provision.settle())
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
            nonce = new_nonce()
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
            end = await self._caller.call(run)
            if isinstance(end, Gone):
                return {"job": job.id, "status": "cancelled"}
            run.writing = True
            writing = self._writer.begin(job, end)
            writing.add_done_callback(lambda _: self._running.pop(job.fence.nonce, None))
            return await asyncio.shield(writing)  # an interrupted body leaves its paid answer to the runtime
        finally:
            if not run.writing:
                self._running.pop(job.fence.nonce, None)

    async def _give_stranger_back(self, nonce: str) -> None:
        """Hand back a claim whose answer never arrived: the same nonce brings the same claim, and with it its fence."""
        job = await self.store.claim(self.owner, nonce=nonce, classes=())
        if job is not None:
            self.log.warning("Claim without a runner was handed back", context={"job_id": job.id})
            await self._writer.hand_back(job)

    def _lose(self, nonce: str) -> None:
        if run := self._running.get(nonce):
            run.stop()
