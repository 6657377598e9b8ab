"""What a worker process makes completions with: the fleet's gate, the cache of answers, shared calls, the manager over them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.config_core import CoreConfig
from infrastructure.core.config_core.sections import Breakers
from infrastructure.core.logger_core import get_logger
from infrastructure.core.performance_core import get_performance_tracker
from infrastructure.core.performance_core.optimizations import NAMES
from infrastructure.optional.event_core import Publisher
from workers.jobs.gate.changes import BreakerTelling
from workers.jobs.gate.costs import Credits
from workers.jobs.gate.fleet_gate import FleetGate
from workers.jobs.gate.local_gate import LocalGate
from workers.jobs.gate.redis_gate import RedisGate
from workers.jobs.prices import PriceBoard
from workers.providers.caching.response_cache import ResponseCache, core_cache
from workers.providers.calls import Answer
from workers.providers.flights.flights import Flights
from workers.providers.litellm_manager import LiteLLMManager
from workers.providers.telling_prices import PriceTelling


class Provision:
    """Makes the parts; `workers.runtime.parts` starts and stops them."""

    def __init__(
        self, config: CoreConfig, *, redis: Redis, owner: str, events: Publisher, ring: Callable[[str], object]
    ) -> None:
        settings = config.settings  # of the start; what may change is asked for at each call
        prefix, cache = settings.redis.prefix, settings.cache
        log = get_logger(settings.service.name, "providers")
        switches = get_performance_tracker(settings.service.name)
        switches.set_optimization(NAMES[0], enabled=cache.enabled)
        switches.set_optimization(NAMES[3], enabled=True, selection_algorithm="composite_performance_score")

        def breakers() -> Breakers:
            return config.settings.breakers

        tell = BreakerTelling(events, log=log)
        shared = RedisGate(redis, prefix=prefix, owner=owner, breakers=breakers, changed=tell, freed=ring)
        local = LocalGate(breakers=breakers, changed=lambda change: tell(change) if self.gate.away else None)
        self.gate = FleetGate(shared, local, log=log)
        self.credits = Credits(redis, prefix=prefix)
        apart = cache.redis_url.get_secret_value() if cache.redis_url else None
        self.cache = core_cache(
            max_size=cache.l1_entries,
            max_bytes=cache.l1_bytes,
            default_ttl=cache.ttl,
            redis=None if apart else redis,
            redis_url=apart,
            prefix=prefix,
        )
        self.flights: Flights[Answer] = Flights(
            redis,
            owner=owner,
            prefix=prefix,
            lease_s=settings.flights.lease_s,
            kept_s=settings.flights.kept_s,
            log=log,
        )
        self.prices = PriceTelling(PriceBoard(redis, prefix=prefix))
        self.manager = LiteLLMManager(
            lambda: config.settings,
            events=events,
            gate=self.gate,
            cache=ResponseCache(self.cache),
            flights=self.flights,
            savings=self.credits,
            prices=self.prices.saw,
        )

    async def settle(self) -> None:
        """Stop the calls that are still under way for other processes, and book every call that has ended.

        Before the process leaves the fleet: what is open then is held to be lost with it.
        """
        await self.flights.close()
        await self.manager.settle()
        await self.gate.flush()

    def background(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Return, by name, what goes on for as long as the process lives."""
        return {"gate": self.gate.keep, "prices": self.prices.follow, **self.manager.background()}
