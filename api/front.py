"""What the front door holds while it runs, and how long it waits for the store."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.asyncio import Redis
from starlette.types import Scope

from api.keys.keys import KeyStore
from api.waiting import Waiters
from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import StoreUnavailable
from workers.jobs.bell import Bell
from workers.jobs.store.job_store import JobStore

T = TypeVar("T")

SOCKET_TIMEOUT_S = 3.0
STORE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontDoor:
    """The collaborators of every route."""

    settings: Settings
    redis: Redis
    store: JobStore
    keys: KeyStore
    waiters: Waiters
    bell: Bell


def front_of(scope: Scope) -> FrontDoor:
    """Return the front door that a request came in by."""
    front: FrontDoor = scope["app"].state.front
    return front


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
