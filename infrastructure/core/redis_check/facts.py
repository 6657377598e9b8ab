"""What a server says of itself: INFO, the settings that it tells, how fast it answers. Asking changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

PINGS = 5
ASKED = (
    "appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy", "min-replicas-to-write", "timeout",
    "tcp-keepalive", "notify-keyspace-events", "lua-time-limit", "busy-reply-threshold",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a server. `settings` lacks what it does not tell, `untold` then says why."""

    info: Mapping[str, Any]
    settings: Mapping[str, str] = field(default_factory=dict)
    untold: str = ""
    round_trip_ms: float = 0.0

    def number(self, name: str) -> int | None:
        """Return a setting as a number; None when it is not known."""
        try:
            return int(self.settings[name])
        except (KeyError, ValueError):
            return None


async def gather(redis: Redis) -> Facts:
    """Ask a server.

    Raises:
        RedisError: it does not answer, or forbids even INFO.
    """
    info = await redis.info("all")
    settings, untold = await _settings(redis)
    return Facts(info=info, settings=settings, untold=untold, round_trip_ms=await _round_trip_ms(redis))


async def _settings(redis: Redis) -> tuple[dict[str, str], str]:
    """Return the settings; managed servers rename CONFIG or forbid it."""
    settings: dict[str, str] = {}
    try:
        for name in ASKED:  # one by one: servers before 7.0 take one pattern only
            settings |= {_text(key): _text(value) for key, value in (await redis.config_get(name)).items()}
    except NoPermissionError:
        return settings, "the user may not ask CONFIG GET"
    except ResponseError:
        return settings, "the server knows no CONFIG GET, as managed ones often do not"
    return settings, ""


async def _round_trip_ms(redis: Redis) -> float:
    """Return the quickest of a few round trips: the slow ones tell of this machine as often as of the network."""
    taken = []
    for _ in range(PINGS):
        began = time.perf_counter()
        await redis.ping()
        taken.append(time.perf_counter() - began)
    return 1_000 * min(taken)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
