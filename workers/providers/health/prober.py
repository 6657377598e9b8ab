"""Rounds of checks: every provider that has to be looked at, all at once, written by one prober of the fleet."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from infrastructure.core.config_core import Provider, Settings
from infrastructure.core.logger_core import CoreLogger
from infrastructure.core.logger_core.events import PROVIDER_HEALTH_CHECK
from infrastructure.core.performance_core import PerformanceTracker
from infrastructure.core.performance_core.operations import HEALTH_CHECK, HEALTH_ROUND, named
from infrastructure.optional.event_core import Publisher
from workers.jobs import topics
from workers.jobs.gate.models import Gate
from workers.jobs.health import Health, HealthStore
from workers.providers.health.judging import BAD, Plan, judged, plan, shut, spares_calls
from workers.providers.health.reach import Reach, Reacher

ROUND_MARGIN_S = 5.0
Down = Callable[[str, str], Awaitable[None]]
"""Tells the gate that a provider is down, and why."""


class Generates(Protocol):
    """Has models generate."""

    async def load(self) -> None:
        """Get ready for it; may take seconds, the first time."""

    async def __call__(self, provider: str, model: str, timeout_s: float) -> str | None:
        """Return why a model does not generate, empty if it does, None if nobody knows."""


class Prober:
    """Checks the providers in use. Used on one event loop; `clock` is monotonic, in seconds."""

    def __init__(
        self,
        *,
        store: HealthStore,
        gate: Gate,
        generate: Generates,
        down: Down,
        events: Publisher,
        tracker: PerformanceTracker,
        log: CoreLogger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._gate = gate
        self._generate = generate
        self._down = down
        self._events = events
        self._tracker = tracker
        self._log = log
        self._clock = clock
        self._born = clock()
        self._busy = asyncio.Lock()

    async def round(self, settings: Settings) -> dict[str, Any]:
        """Check all providers at once of which too little is known, and write what was found.

        Nothing is done while all is fresh, or when another prober checks now, or this one does.

        Raises:
            StoreError: Redis does not answer.
            TimeoutError: the round took longer than it may; another prober goes on.
        """
        if self._busy.locked():
            return {"status": "busy"}
        async with self._busy:
            plans, soon = await self._plans(settings)
            said = await self._round(plans, settings) if plans else {"status": "fresh"}
            if soon:  # while a breaker's pause still lasts, so that no provider's return waits for it
                await self._generate.load()
            return said

    async def _round(self, plans: Sequence[Plan], settings: Settings) -> dict[str, Any]:
        if any(one.models for one in plans):
            await self._generate.load()
        token = secrets.token_hex(8)
        within_s = 2 * settings.health.timeout_s + ROUND_MARGIN_S
        if not await self._store.begin_round(token, within_ms=round(within_s * 1000)):
            return {"status": "another_probes"}
        try:
            async with asyncio.timeout(within_s):
                return await self._checked(plans, settings, token)
        finally:
            await self._store.end_round(token)

    async def _plans(self, settings: Settings) -> tuple[list[Plan], bool]:
        """Return what there is to check, and whether some provider will soon have to generate."""
        providers = settings.in_use()
        known = await self._store.read(providers)
        states = await self._gate.states()
        watched_ms = 1_000 * (self._clock() - self._born)
        plans = (
            plan(name, known[name], [one for one in states if one.provider == name], settings, watched_ms=watched_ms)
            for name in providers
        )
        soon = any(shut(one) for one in states if one.provider in providers)
        return [one for one in plans if one is not None], soon

    async def _checked(self, plans: Sequence[Plan], settings: Settings, token: str) -> dict[str, Any]:
        reacher = Reacher()
        try:
            with self._tracker.track_operation(HEALTH_ROUND):
                found = await asyncio.gather(*(self._check(one, settings, reacher) for one in plans))
        finally:
            await reacher.close()
        if not await self._store.write(token, found):
            return {"status": "overtaken"}
        for one, health in zip(plans, found, strict=True):
            self._tell(one.before, health)
        return {"status": "checked", "providers": len(found)}

    async def _check(self, one: Plan, settings: Settings, reacher: Reacher) -> Health:
        with (
            self._tracker.track_operation(HEALTH_CHECK),
            self._tracker.track_operation(named(HEALTH_CHECK, one.provider)) as measured,
        ):
            reach = await _within(reacher, settings.providers[one.provider], settings.health.timeout_s)
            generated: dict[str, str | None] = {}
            if reach.reachable and one.models:
                asked = [self._generate(one.provider, model, settings.health.timeout_s) for model in one.models]
                generated = dict(zip(one.models, await asyncio.gather(*asked), strict=True))
            health = judged(one, reach, generated)
            if health.status in BAD:
                measured.fail(health.reason or "provider_unavailable")
            if spares_calls(one, health):
                await self._down(one.provider, health.reason)
        return health

    def _tell(self, before: Health, now: Health) -> None:
        checked = {
            "provider": now.provider,
            "status": now.status.value,
            "response_time_ms": now.response_time_ms,
            "success_rate": now.success_rate,
        }
        self._log.info(PROVIDER_HEALTH_CHECK, context=checked)
        if before.status is now.status:
            return
        change = {
            "provider": now.provider,
            "before": before.status.value,
            "status": now.status.value,
            "reason": now.reason or "none",
        }
        if now.status in BAD:
            self._log.warning("Provider does not work", context=change)
        else:
            self._log.info("Provider health changed", context=change)
        self._events.publish(topics.PROVIDER_HEALTH, {**change, "reason": now.reason})


async def _within(reacher: Reacher, provider: Provider, timeout_s: float) -> Reach:
    try:
        async with asyncio.timeout(timeout_s):
            return await reacher.ask(provider, timeout_s=timeout_s)
    except TimeoutError:
        return Reach(reachable=False, refused=False, reason="provider_timeout", response_time_ms=timeout_s * 1000)
