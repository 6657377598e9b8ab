"""A process under observation: its tracker ticks, its metrics are published, and it answers for the fleet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.asyncio_core import end_tasks, within
from infrastructure.core.error_core import ErrorHandler, StoreError, get_error_handler
from infrastructure.core.logger_core import get_logger
from infrastructure.core.performance_core.fleet import INTERVAL_S, FleetMetrics, Published
from infrastructure.core.performance_core.merging import merged
from infrastructure.core.performance_core.tracker import PerformanceTracker, get_performance_tracker

REMOVE_S = 1.0
ERRORS = "errors"
Section = Callable[[], Mapping[str, Any]]
Follow = Callable[[], Callable[[], None]]


class Observation:
    """Observes one process, named `instance`, of a `kind`; `start` it on the loop that `stop` is called on.

    `sections` are what it tells beside its performance, each a call that returns JSON-able figures: `logging`,
    `configuration`, `caching`. One that fails is told as its error's type. `follow` is called at the start, to follow the
    configuration; what it returns is called at the end.
    """

    def __init__(
        self,
        service: str,
        *,
        redis: Redis,
        prefix: str,
        kind: str,
        instance: str,
        sections: Mapping[str, Section],
        follow: Follow | None = None,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self.instance = instance
        self.kind = kind
        self.tracker: PerformanceTracker = get_performance_tracker(service)
        self.errors: ErrorHandler = get_error_handler(service)
        self._fleet = FleetMetrics(redis, prefix=prefix, interval_s=interval_s)
        self._sections = {ERRORS: self.errors.get_metrics, **sections}
        self._interval_s = interval_s
        self._log = get_logger(service, "performance_core")
        self._task: asyncio.Task[None] | None = None
        self._follow = follow
        self._unfollow: Callable[[], None] | None = None

    def start(self) -> None:
        """Publish from now on."""
        self._unfollow = self._follow() if self._follow is not None else None
        self._task = asyncio.create_task(self._keep_publishing(), name="metrics")

    async def stop(self) -> None:
        """Publish no more; the fleet forgets this process now, or by itself when Redis is away."""
        if self._unfollow is not None:
            self._unfollow()
            self._unfollow = None
        if self._task is None:
            return
        await end_tasks([self._task])
        self._task = None
        try:
            await within(self._fleet.remove(self.instance), REMOVE_S)
        except (StoreError, TimeoutError):
            self._log.debug("Metrics of this process are left to expire")

    async def publish(self) -> None:
        """Measure and publish once.

        Raises:
            StoreError: Redis did not answer.
        """
        await self._fleet.publish(self.instance, self.kind, self.tracker.tick(), self._told())

    async def get_metrics(self) -> dict[str, Any]:
        """Return the four sections of the fleet's metrics, merged, and each instance with its age.

        Raises:
            StoreError: Redis did not answer.
        """
        others = [one for one in await self._fleet.read() if one.instance != self.instance]
        self.tracker.hear(one.performance for one in others)
        told = {self.instance: self._told(), **{one.instance: one.sections for one in others}}
        # In a thread: it takes milliseconds, and others' requests are not to wait for it.
        summary = await asyncio.to_thread(self.tracker.get_summary)
        performance = {**summary, ERRORS: merged(told, ERRORS)}
        sections = {name: merged(told, name) for name in ("logging", "configuration", "caching")}
        return {**sections, "performance": performance, "instances": [self._self_shown(), *map(_shown, others)]}

    async def _keep_publishing(self) -> None:
        troubled = False
        while True:
            try:
                await self.publish()
                troubled = False
            except Exception as exc:  # noqa: BLE001  measuring never ends what it measures
                if not troubled:
                    self._log.warning("Metrics cannot be published", context={"error_type": type(exc).__name__})
                troubled = True
            await asyncio.sleep(self._interval_s)

    def _told(self) -> dict[str, Any]:
        return {name: _safely(section) for name, section in self._sections.items()}

    def _self_shown(self) -> dict[str, Any]:
        uptime_ms = round(self.tracker.snapshot().uptime_ms, 1)
        return {"instance": self.instance, "kind": self.kind, "age_ms": 0.0, "uptime_ms": uptime_ms}


def _shown(one: Published) -> dict[str, Any]:
    uptime_ms = round(one.performance.uptime_ms, 1)
    return {"instance": one.instance, "kind": one.kind, "age_ms": one.age_ms, "uptime_ms": uptime_ms}


def _safely(section: Section) -> Mapping[str, Any]:
    try:
        return section()
    except Exception as exc:  # noqa: BLE001  one part's figures are not worth the others'
        return {"error_type": type(exc).__name__}
