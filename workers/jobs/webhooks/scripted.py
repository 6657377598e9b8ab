"""Runs the scripts of webhooks on one Redis, under one prefix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.redis_core import store_errors
from workers.jobs.store import lua

PACKAGE = "workers.jobs.webhooks"


class Scripts:
    """The named scripts; each run raises StoreUnavailable or StoreFull when Redis does not do its part."""

    def __init__(self, redis: Redis, *, prefix: str, names: Sequence[str]) -> None:
        self._prefix = prefix
        self._scripts = {name: redis.register_script(lua.source(name, PACKAGE)) for name in names}

    async def run(self, name: str, *args: str | bytes | float) -> Any:
        """Return what a script answers; it is idempotent by what its head names as the nonce."""
        with store_errors():
            return await self._scripts[name](args=(self._prefix, 0, *args))
