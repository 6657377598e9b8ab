"""What the front door holds while it runs, and how long it waits for the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from redis.asyncio import Redis
from starlette.types import Scope

from api.admission import Admission
from api.events import RecentEvents
from api.keys.keys import KeyStore
from api.streams import StreamPlaces
from api.waiting import Waiters
from api.webhooks.desk import WebhookDesk
from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import StoreUnavailable
from infrastructure.core.performance_core import Observation
from infrastructure.optional.container_core import Registry
from infrastructure.optional.event_core import EventBus
from infrastructure.optional.service_discovery import Directory
from workers.jobs.bell import Bell
from workers.jobs.store.dead_letters import DeadLetters
from workers.jobs.store.job_store import JobStore

T = TypeVar("T")

FRONT = "ai_provider.front"
"""Where a request's scope keeps its front door."""
SOCKET_TIMEOUT_S = 3.0
STORE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontDoor:
    """The collaborators of every route.

    `settings` are those of one moment: a request sees the ones that held when it was first asked. `latest` gives the ones
    that hold now, where the process follows its configuration.
    """

    settings: Settings
    latest: Callable[[], Settings] | None = None
    redis: Redis
    store: JobStore
    dead: DeadLetters
    keys: KeyStore
    admission: Admission
    waiters: Waiters
    bell: Bell
    observation: Observation
    parts: Registry
    events: EventBus
    recent: RecentEvents
    streams: StreamPlaces
    directory: Directory
    webhooks: WebhookDesk


def front_of(scope: Scope) -> FrontDoor:
    """Return the front door that a request came in by, with one and the same settings whenever the request asks."""
    front: FrontDoor | None = scope.get(FRONT)
    if front is None:
        front = scope[FRONT] = _now(scope["app"].state.front)
    return front


def _now(front: FrontDoor) -> FrontDoor:
    """Return the front door with the settings that hold now."""
    settings = front.latest() if front.latest else front.settings
    return front if settings is front.settings else replace(front, settings=settings)


async def within(work: Coroutine[Any, Any, T]) -> T:
    """Return what the store answers within 5 s: a caller is told that it is away sooner than redis-py gives up.

    Raises:
        StoreUnavailable: it did not answer. What was asked may have been done.
    """
    try:
        async with asyncio.timeout(STORE_S) as limit:
            return await work
    except TimeoutError as exc:
        if not limit.expired():
            raise
        raise StoreUnavailable(f"Redis did not answer within {STORE_S:g} s", retry_after_s=2) from exc
