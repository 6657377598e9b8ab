"""All processes of the service on this machine, as `up` and `demo` run them: in which order, with which settings."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace
from typing import Self

import httpx

from api.cli import reach
from api.cli.child import Say, Spec
from api.cli.crew import WorkerCrew, ids_of, python, with_id
from api.cli.errors import CommandFailed
from api.cli.scaling import keep_scaled
from api.cli.supervisor import Supervisor, Verdict
from api.keys.auth import is_loopback
from infrastructure.core.addresses import http_url
from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.config_core import Loaded, Settings, child_environment, data_dir, load, sandbox_wanted
from infrastructure.core.error_core import ConfigError, StoreUnavailable
from infrastructure.optional.container_core import Bounds
from infrastructure.optional.embedded_redis.embedded_redis import EmbeddedRedis
from workers.jobs.load import bounds_of
from workers.queues import COMPLETIONS, UPKEEP

DRAIN_S = 4.0
SANDBOX_PACE = ("--latency", "0.4", "--jitter", "0.3")
SANDBOX_S = 15.0
READY_S = 60.0
LOOK_EVERY_S = 0.1
REDIS_LOOK_S = 0.5
LAST_STAGE = 1
WORKERS = {COMPLETIONS: "worker", UPKEEP: "upkeep"}
"""Kinds of workers, in the order of their start, and what their processes are called."""
NO_KEY = "no API key was ever made: make one with `ai-provider keys create`, or listen on 127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: where the front door listens, how many completion workers (None: as the queue asks), whether Flower."""

    host: str
    port: int
    workers: int | None = 1
    flower_port: int | None = None


class Stack:
    """The running service. Use as an async context manager: leaving it stops everything and leaves no process behind.

    `url` is the front door's, `redis_url` the job store's, `sandbox_url` None where real providers are used.
    """

    def __init__(self, loaded: Loaded, plan: Plan, *, say: Say) -> None:
        self._loaded = loaded
        self._plan = plan
        self._say = say
        self._embedded: EmbeddedRedis | None = None
        self._watch: asyncio.Task[None] | None = None
        self._scaling: asyncio.Task[None] | None = None
        self._supervisor: Supervisor | None = None
        self._undo = contextlib.AsyncExitStack()
        self.url = http_url(plan.host, plan.port)
        self.redis_url = ""
        self.sandbox_url: str | None = None

    @property
    def settings(self) -> Settings:
        """Return the configuration that the processes were started with, but for what the plan changes."""
        return self._loaded.settings

    def settings_of_processes(self) -> Settings:
        """Return the configuration as the processes see it, with the sandbox's accounts where there is one."""
        return load(self._environment()).settings

    @property
    def embedded(self) -> bool:
        """Say whether the job store is the embedded server."""
        return self._embedded is not None

    @property
    def verdict(self) -> asyncio.Future[Verdict]:
        """Return the future that says that everything has to stop, and why."""
        if self._supervisor is None:
            raise RuntimeError("expected the stack to have been started")
        return self._supervisor.verdict

    async def __aenter__(self) -> Self:
        """Find or start Redis, then start every process.

        Raises:
            CommandFailed, StoreUnavailable: Redis, or the sandbox, cannot be had.
        """
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self._stop_redis)
            self.redis_url = await asyncio.to_thread(self._find_redis)
            await self._check_door()
            if sandbox_wanted(self.settings):
                self.sandbox_url = self.settings.sandbox.url or http_url("127.0.0.1", sandbox_port(self.settings))
            supervisor = Supervisor(environment=self._environment(), say=self._say, hung_s=self.settings.service.hung_s)
            self._supervisor = await undo.enter_async_context(supervisor)
            undo.push_async_callback(self._stop_scaling)
            await self._start_all(supervisor)
            self._undo = undo.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop all processes, then the embedded server unless somebody else uses it."""
        await self._undo.aclose()

    async def ready(self) -> bool:
        """Wait until the front door can take jobs; False when everything has to stop before.

        Raises:
            CommandFailed: it does not come up within 60 s.
        """
        return await self._answers(f"{self.url}/health/ready", within_s=READY_S, who="the front door")

    async def sandbox_answers(self) -> bool:
        """Wait until the sandbox can be reached; False when everything has to stop before.

        Raises:
            CommandFailed: it does not come up within 15 s.
        """
        return await self._answers(f"{self.sandbox_url}/_sandbox/counters", within_s=SANDBOX_S, who="the sandbox")

    def _find_redis(self) -> str:
        configured = self.settings.redis.url
        if configured is not None:
            url = configured.get_secret_value()
            reach.check_redis(url, origin=self._loaded.origins.get("redis.url", ""))
            return url
        self._embedded = embedded_redis(self.settings)
        return self._embedded.start()

    async def _stop_scaling(self) -> None:
        if self._scaling is not None:
            await end_tasks([self._scaling])

    async def _check_door(self) -> None:
        """Refuse an address that other machines reach while nobody needs a key; the front door would refuse it too, later.

        Raises:
            ConfigError: no key was ever made.
        """
        from api.cli.keys import key_store

        if is_loopback(self._plan.host):
            return
        async with key_store(self.settings, self.redis_url) as keys:
            if not await keys.exist():
                raise ConfigError([f"service.host {self._plan.host} is reachable from other machines and {NO_KEY}"])

    async def _stop_redis(self) -> None:
        if self._watch is not None:
            await end_tasks([self._watch])
        if self._embedded is not None:
            await asyncio.to_thread(self._embedded.stop)

    async def _start_all(self, supervisor: Supervisor) -> None:
        if self._embedded is not None:
            self._watch = asyncio.create_task(self._keep_redis(self._embedded, supervisor))
        if self.sandbox_url is not None and self.settings.sandbox.url is None:
            await supervisor.run(_sandbox(self.sandbox_url))
        ids = ids_of(self.settings.service.id)
        await supervisor.run(
            Spec(name="web", command=python("api.main"), variables=with_id(ids), reloads=True, life="web")
        )
        bounds = {kind: self._bounds(kind) for kind in WORKERS}
        crews = [
            WorkerCrew(kind, name, supervisor, ids=ids, minimum=bounds[kind].minimum) for kind, name in WORKERS.items()
        ]
        for crew in crews:
            for _ in range(bounds[crew.kind].minimum):
                await crew.add()
        for name in ("beat", "flower") if self._plan.flower_port is not None else ("beat",):
            command = python("workers.main", name)
            await supervisor.run(Spec(name=name, command=command, variables=with_id(ids), reloads=True, life=name))
        scaled = [crew for crew in crews if bounds[crew.kind].minimum < bounds[crew.kind].maximum]
        if scaled:
            keep = keep_scaled(scaled, bounds, settings=self.settings, redis_url=self.redis_url, say=self._say)
            self._scaling = asyncio.create_task(keep)

    def _bounds(self, kind: str) -> Bounds:
        """Return how many workers of a kind there may be; what the person asked for is both bounds."""
        bounds = bounds_of(self.settings, kind)
        if kind == COMPLETIONS and self._plan.workers is not None:
            return replace(bounds, minimum=self._plan.workers, maximum=self._plan.workers)
        return bounds

    async def _keep_redis(self, embedded: EmbeddedRedis, supervisor: Supervisor) -> None:
        """Start the embedded server again when it dies."""
        while True:
            await asyncio.sleep(REDIS_LOOK_S)
            try:
                if await asyncio.to_thread(embedded.revive):
                    self._say("redis", "the embedded server had died; it runs again")
            except StoreUnavailable as exc:
                supervisor.decide(Verdict(1, exc.message))
                return

    async def _answers(self, url: str, *, within_s: float, who: str) -> bool:
        deadline = time.monotonic() + within_s
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            while not self.verdict.done():
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(url)).is_success:
                        return True
                if time.monotonic() > deadline:
                    raise CommandFailed(f"{who} did not answer within {within_s:.0f} s at {url}")
                await asyncio.wait([self.verdict], timeout=LOOK_EVERY_S)
        return False

    def _environment(self) -> dict[str, str]:
        """Return what the processes need to know beside the configuration that they read themselves."""
        settings, plan = self.settings, self._plan
        told = {
            "PYTHONUNBUFFERED": "1",
            "AI_PROVIDER_HOST": plan.host,
            "AI_PROVIDER_PORT": str(plan.port),
            # They are killed 6 s after they were asked to end: what does not end before that is to be handed back.
            "AI_PROVIDER_WORKER_DRAIN_S": str(min(settings.worker.drain_s, DRAIN_S)),
        }
        if self.embedded:
            told["REDIS_URL"] = self.redis_url
        if self.sandbox_url is not None:
            told["AI_PROVIDER_SANDBOX_URL"] = self.sandbox_url
        if plan.flower_port is not None:
            told["AI_PROVIDER_FLOWER_PORT"] = str(plan.flower_port)
        return child_environment(told)


def embedded_redis(settings: Settings) -> EmbeddedRedis:
    """Return the embedded server of this configuration; nothing is started yet."""
    return EmbeddedRedis(data_dir(settings) / "redis", settings.redis.server)


def sandbox_port(settings: Settings) -> int:
    """Return the port that the sandbox is to listen on: the configured one, else any that is free.

    Raises:
        CommandFailed: another program has the configured one.
    """
    port = settings.sandbox.port
    if port and not reach.is_free("127.0.0.1", port):
        raise CommandFailed(f"port {port} of 127.0.0.1 is taken; sandbox.port has to be another one, or 0 for any")
    return port or reach.free_port()


def _sandbox(url: str) -> Spec:
    # It ends last: a worker that drains has calls there, and they are to succeed.
    command = python("workers.providers.sandbox", "--port", url.rpartition(":")[2], *SANDBOX_PACE)
    return Spec(name="sandbox", command=command, stage=LAST_STAGE)
