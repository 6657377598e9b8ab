"""The prober of a worker process, made of the process's parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from infrastructure.core.config_core import CoreConfig
from infrastructure.core.logger_core import get_logger
from infrastructure.core.performance_core import PerformanceTracker
from infrastructure.core.performance_core.optimizations import NAMES
from infrastructure.optional.event_core import Publisher
from workers.jobs.health import HealthStore
from workers.providers.health.generating import Generator
from workers.providers.health.prober import Prober
from workers.runtime.provision import Provision


def prober_of(
    config: CoreConfig,
    provision: Provision,
    *,
    redis: Redis,
    load: Callable[[], Awaitable[None]],
    events: Publisher,
    tracker: PerformanceTracker,
) -> Prober:
    """Return the prober; `load` gets LiteLLM ready, which only a model that has to generate needs."""
    tracker.set_optimization(NAMES[1], enabled=True, ttl_s=config.settings.health.interval_s)
    tracker.set_optimization(NAMES[2], enabled=True)
    return Prober(
        store=HealthStore(redis, prefix=config.settings.redis.prefix),
        gate=provision.gate,
        generate=Generator(provision.manager, load=load, settings=lambda: config.settings, tracker=tracker),
        down=provision.gate.down,
        events=events,
        tracker=tracker,
        log=get_logger(config.settings.service.name, "health"),
    )
