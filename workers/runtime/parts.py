"""The parts of a worker process in the order of their start, each with how it is started, mended and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.cache_core import CoreCache
from infrastructure.core.performance_core import Observation
from infrastructure.optional.container_core import Background, Recovery, Registry
from infrastructure.optional.event_core import EventBus
from infrastructure.optional.service_discovery import Directory, Registration, own_description
from workers import queues
from workers.jobs.bell import Bell
from workers.jobs.gate.costs import Credits
from workers.jobs.gate.fleet_gate import FleetGate
from workers.providers.flights.flights import Flights
from workers.providers.litellm_manager import LiteLLMManager
from workers.runtime.runtime import Runtime
from workers.webhooks.deliverer import Deliverer


def parts_of(runtime: Runtime, *, kind: str) -> Registry:
    """Return the runtime's registry with all of its parts; nothing is started yet."""
    parts, settings = runtime.parts, runtime.settings
    parts.register_value(Redis, runtime.redis, name="redis", stop=Redis.aclose, ping=Redis.ping)
    parts.register_value(Redis, runtime.broker, name="broker", stop=Redis.aclose, ping=Redis.ping)
    parts.register_value(
        EventBus, runtime.events, start=EventBus.start, stop=EventBus.stop, ping=EventBus.ping, recovery=Recovery()
    )
    provision = runtime.provision
    parts.register_value(FleetGate, provision.gate, stop=FleetGate.close)
    parts.register_value(Credits, provision.credits, stop=Credits.close)
    parts.register_value(CoreCache, provision.cache, start=CoreCache.start, stop=CoreCache.close)
    parts.register_value(LiteLLMManager, runtime.manager, stop=LiteLLMManager.close)
    parts.register_value(Flights, provision.flights, start=Flights.start, stop=Flights.close)
    parts.register_value(Bell, runtime.bell, start=Bell.start, stop=_stop_bell, ping=Bell.ping, recovery=Recovery())
    parts.register_value(Observation, runtime.observation, start=Observation.start, stop=Observation.stop)
    parts.register_value(Runtime, runtime, stop=Runtime.retire)
    if kind == queues.UPKEEP:
        parts.register_value(Deliverer, runtime.webhooks, stop=Deliverer.close)
    described = own_description(settings, kind=kind, instance=runtime.owner)
    directory = Directory(runtime.redis, prefix=settings.redis.prefix)
    registration = Registration(directory, described, fresh=lambda: {"config": runtime.config_version})
    parts.register_value(
        Registration, registration,
        start=Registration.start, stop=Registration.stop, ping=Registration.ping, recovery=Recovery(),
    )  # fmt: skip
    for name, work in runtime.background().items():
        _register_work(parts, name, work)
    return parts


def _register_work(parts: Registry, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    parts.register_value(
        Background, Background(name, work), name=name,
        start=Background.start, stop=Background.stop, ping=Background.ping, recovery=Recovery(),
    )  # fmt: skip


async def _stop_bell(bell: Bell) -> None:
    await asyncio.to_thread(bell.stop)
