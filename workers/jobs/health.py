"""What is known of each provider's health: written by the one prober of the fleet, read by whoever asks.

key                  type    expiry     meaning
health:{provider}    string  5 min      the last check, as JSON; fresh for `health.interval_s`, then kept with its age
health:round         string  a round    token of the prober that checks now: its fence
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import orjson
from redis.asyncio import Redis

from infrastructure.core.redis_core import store_errors

KEPT_MS = 300_000

_WRITE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local instant = redis.call('TIME')
local now = instant[1] * 1000 + math.floor(instant[2] / 1000)
for i = 2, #KEYS do
  local checked = cjson.decode(ARGV[i + 1])
  checked.checked_ms = now
  redis.call('SET', KEYS[i], cjson.encode(checked), 'PX', ARGV[2])
end
return 1
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Standing(StrEnum):
    """How a provider does."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """It answers, but not for every model."""
    DOWN = "down"
    REFUSED = "refused"
    """It answers, and wants neither our key nor our money."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """A provider's last check.

    `reachable` is about its list of models, `generates` about a tiny completion; None: not tried. `success_rate` (0 to 1)
    is of the calls of the last 30 s, jobs' own included. `age_ms` is counted from the check, by Redis.
    """

    provider: str
    status: Standing
    reachable: bool | None = None
    generates: bool | None = None
    reason: str = ""
    """A class of failure, never a provider's own words."""
    response_time_ms: float | None = None
    success_rate: float | None = None
    age_ms: int | None = None


class HealthStore:
    """The checks of one prefix. Every method raises StoreError when Redis does not answer."""

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._write = redis.register_script(_WRITE)
        self._release = redis.register_script(_RELEASE)

    async def begin_round(self, token: str, *, within_ms: int) -> bool:
        """Become the only prober for `within_ms`; False when there is one."""
        with store_errors():
            return bool(await self._redis.set(self._round, token, nx=True, px=within_ms))

    async def end_round(self, token: str) -> None:
        """Let the next prober begin; a token that ran out releases nothing."""
        with store_errors():
            await self._release(keys=[self._round], args=[token])

    async def write(self, token: str, checked: Sequence[Health]) -> bool:
        """Write checks, unless the round is another prober's by now; then False."""
        names = [self._key(health.provider) for health in checked]
        bodies = [orjson.dumps({**asdict(health), "age_ms": None}) for health in checked]
        with store_errors():
            return bool(await self._write(keys=[self._round, *names], args=[token, KEPT_MS, *bodies]))

    async def read(self, providers: Iterable[str]) -> dict[str, Health]:
        """Return the last check of each provider, UNKNOWN where there is none that is younger than 5 min."""
        names = list(providers)
        if not names:
            return {}
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.mget([self._key(name) for name in names])
                (seconds, micros), bodies = await pipe.execute()
        now_ms = seconds * 1000 + micros // 1000
        return {name: _read(name, body, now_ms) for name, body in zip(names, bodies, strict=True)}

    @property
    def _round(self) -> str:
        return f"{self._prefix}:health:round"

    def _key(self, provider: str) -> str:
        return f"{self._prefix}:health:{provider}"


def _read(provider: str, body: bytes | None, now_ms: int) -> Health:
    unknown = Health(provider=provider, status=Standing.UNKNOWN)
    if body is None:
        return unknown
    try:
        fields: dict[str, Any] = orjson.loads(body)
        checked_ms = fields.pop("checked_ms")
        health = Health(**{**fields, "status": Standing(fields["status"])})
    except (ValueError, TypeError, KeyError):
        return unknown
    return replace(health, age_ms=max(now_ms - checked_ms, 0))
