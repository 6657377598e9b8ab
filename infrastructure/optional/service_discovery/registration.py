"""A registration kept alive by its heartbeat, and the guide's three functions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.config_core import load
from infrastructure.core.error_core import ConfigError, StoreError
from infrastructure.core.logger_core import get_logger, where
from infrastructure.core.redis_core import connect
from infrastructure.optional.service_discovery.directory import HEARTBEAT_S, Directory
from infrastructure.optional.service_discovery.instances import Instance, instance_of

FAREWELL_S = 2.0
BEAT_S = 3.0
CONNECTIONS = 2
_log = get_logger("infrastructure", "service_discovery")
# asyncio keeps only a weak hold of its tasks, and the guide's caller keeps nothing of what it is given.
_kept: dict[Registration, Redis | None] = {}


class Registration:
    """An instance in the directory from `start` to `stop`. Redis may be away: it is written when Redis is back.

    `fresh` gives metadata that changes while the process lives; it is asked at each heartbeat.
    """

    def __init__(
        self,
        directory: Directory,
        service: Mapping[str, Any],
        *,
        heartbeat_s: float = HEARTBEAT_S,
        fresh: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        """Check the description.

        Raises:
            ValueError: it breaks a rule; see `instances.RULES`.
        """
        self.instance: Instance = instance_of(service)
        self._fresh = fresh or dict
        self._directory = directory
        self._heartbeat_s = heartbeat_s
        self._task: asyncio.Task[None] | None = None
        self.heard = False
        """Whether the last heartbeat was."""

    async def start(self) -> None:
        """Write the instance, if Redis is there, and go on writing it."""
        await self._beat()
        self._task = asyncio.create_task(self._keep(), name=f"registration of {self.instance.id}")

    async def stop(self) -> None:
        """End the heartbeat and take the instance out; where Redis does not hear it, it is gone 12 s later."""
        task, self._task = self._task, None
        if task is None:
            return
        await end_tasks([task])
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._directory.remove(self.instance)
        except (StoreError, RedisError, TimeoutError):
            _log.info("Directory did not hear the farewell", context={"instance": self.instance.id})

    def ping(self) -> None:
        """Say by an exception that the heartbeat has ended.

        Raises:
            RuntimeError: it was not started, or has ended.
        """
        if self._task is None or self._task.done():
            raise RuntimeError("expected the registration's heartbeat to go on, got none")

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            await self._beat()

    async def _beat(self) -> None:
        before = self.heard
        self.instance = replace(self.instance, metadata={**self.instance.metadata, **self._fresh()})
        try:
            async with asyncio.timeout(BEAT_S):
                await self._directory.beat(self.instance)
            self.heard = True
        except (StoreError, RedisError, TimeoutError) as exc:
            self.heard = False
            if before:
                _log.warning(
                    "Directory does not hear the heartbeat", context={"instance": self.instance.id, **where(exc)}
                )


async def register_service(service: Mapping[str, Any], *, directory: Directory | None = None) -> Registration:
    """Enter a service into the directory and keep it there until `deregister_service` or the end of the loop.

    Args:
        service: `name`, `host`, `port`, `health_check`, `tags`, `metadata`; all but name and host may be left out.
        directory: where; None: the Redis of the configuration.

    Raises:
        ValueError: the description breaks a rule.
        ConfigError: there is no directory given and no Redis configured.
    """
    redis, directory = (None, directory) if directory is not None else _configured()
    registration = Registration(directory, service)
    await registration.start()
    _kept[registration] = redis
    return registration


async def deregister_service(registration: Registration) -> None:
    """Take a service out of the directory."""
    redis = _kept.pop(registration, None)
    await registration.stop()
    if redis is not None:
        await redis.aclose()


async def discover(name: str, tag: str | None = None, *, directory: Directory | None = None) -> list[Instance]:
    """Return the living instances of a service, those with a tag, ordered by id.

    Raises:
        StoreError: the directory cannot be read.
        ConfigError: there is no directory given and no Redis configured.
    """
    if directory is not None:
        return await directory.discover(name, tag)
    redis, directory = _configured()
    async with redis:
        return await directory.discover(name, tag)


def _configured() -> tuple[Redis, Directory]:
    """Return the directory that the configuration leads to, and its connections, for the caller to close."""
    settings = load().settings
    if settings.redis.url is None:
        raise ConfigError(["redis.url: expected a URL (REDIS_URL): the directory of services lives there"])
    redis = connect(settings.redis.url.get_secret_value(), max_connections=CONNECTIONS)
    return redis, Directory(redis, prefix=settings.redis.prefix)
