"""Each process's metrics in Redis, published every few seconds, gone soon after it; the fleet is read from there.

Under the service's prefix:

    metrics:{instance}   string   5 intervals   JSON in zstd: kind, performance, the process's other sections
    metrics              zset     5 intervals   instance -> instant it published last, by Redis

An instance's counts are absolute, since its start; a process that starts again is another instance. So nothing is ever
counted twice, whoever reads, and however often.
"""

from __future__ import annotations

import functools
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import zstandard
from redis.asyncio import Redis

from infrastructure.core.performance_core.snapshot import Snapshot
from infrastructure.core.redis_core import store_errors

INTERVAL_S = 3.0
LIVES_INTERVALS = 5
MOST_BYTES = 16_777_216
_PUBLISH = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
return redis.call('PEXPIRE', KEYS[2], ARGV[2])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What an instance said of itself, and how long ago (`age_ms`, by Redis's clock)."""

    instance: str
    kind: str
    age_ms: float
    performance: Snapshot
    sections: Mapping[str, Any]


@functools.cache
def process_instance(kind: str) -> str:
    """Return this process's name for a kind of work: kind, host, process id and a random part, so that none had it before."""
    return f"{kind}@{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"


class FleetMetrics:
    """Writes one instance's metrics, and reads everybody's. Every method raises StoreError when Redis does not answer."""

    def __init__(self, redis: Redis, *, prefix: str, interval_s: float = INTERVAL_S) -> None:
        self._redis = redis
        self._index = f"{prefix}:metrics"
        self._lives_ms = round(interval_s * LIVES_INTERVALS * 1_000)
        self._script = redis.register_script(_PUBLISH)

    async def publish(self, instance: str, kind: str, performance: Snapshot, sections: Mapping[str, Any]) -> None:
        """Replace what an instance has said."""
        told = {"kind": kind, "performance": performance.wire(), "sections": sections}
        data = zstandard.compress(orjson.dumps(told, default=str), 3)
        with store_errors():
            await self._script(keys=[self._at(instance), self._index], args=[instance, self._lives_ms, data])

    async def remove(self, instance: str) -> None:
        """Forget an instance, at its orderly end."""
        with store_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.delete(self._at(instance))
                pipe.zrem(self._index, instance)
                await pipe.execute()

    async def read(self) -> list[Published]:
        """Return what the living instances said last; what cannot be read (another version's) is left out."""
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zrange(self._index, 0, -1, withscores=True)
                pipe.time()
                scored, (seconds, micros) = await pipe.execute()
            if not scored:
                return []
            values: list[Any] = await self._redis.mget([self._at(name.decode()) for name, _ in scored])
        now_ms = int(seconds) * 1_000 + int(micros) / 1_000
        found = (_opened(name.decode(), now_ms - score, raw) for (name, score), raw in zip(scored, values, strict=True))
        return [one for one in found if one is not None]

    def _at(self, instance: str) -> str:
        return f"{self._index}:{instance}"


def _opened(instance: str, age_ms: float, raw: bytes | None) -> Published | None:
    if raw is None:
        return None
    try:
        if zstandard.frame_content_size(raw) > MOST_BYTES:  # `max_output_size` binds only where the frame tells no size
            return None
        told = orjson.loads(zstandard.ZstdDecompressor().decompress(raw, max_output_size=MOST_BYTES))
        return Published(
            instance=instance,
            kind=str(told["kind"]),
            age_ms=round(max(age_ms, 0.0), 1),
            performance=Snapshot.of_wire(told["performance"]),
            sections=dict(told["sections"]),
        )
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
