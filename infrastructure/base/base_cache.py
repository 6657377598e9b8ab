"""What a cache promises, with a twin that keeps nothing."""

from __future__ import annotations

from typing import Any


class BaseCache:
    """Keeps values of one service under keys for a while. Here nothing is kept: every `get` is a miss.

    A cache may forget anything at any time, so a caller that works with this one works with all.
    """

    def __init__(self, service_name: str) -> None:
        self.service_name = service_name

    async def get(self, key: str) -> Any:  # noqa: ARG002  the interface's
        """Return the value under a key, None when there is none."""
        return None

    async def set(self, key: str, value: Any, ttl: int | None = None) -> None:
        """Keep a value for `ttl` seconds, or for as long as the cache does by itself."""


class NullCache(BaseCache):
    """Keeps nothing, for a service that is told to do without a cache."""
