"""The directory of services in Redis: written by heartbeats, read by whoever looks for a service.

    key                            type    expiry    meaning
    services                       zset    12 s      name:id -> instant of the last heartbeat, by Redis time
    service:{name}:{id}            string  12 s      what the instance says of itself, as JSON

A heartbeat comes every 4 s, so an instance that dies is gone 12 s after its last one at the latest, and a living one may
miss two. All names begin with the prefix.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from infrastructure.core.redis_core import store_errors
from infrastructure.optional.service_discovery.instances import Instance, decode, encode

HEARTBEAT_S = 4.0
TTL_S = 12.0

# Both work on a Redis that is full: its memory is judged at a script's first write, and a delete is never refused.
_BEAT = """
-- KEYS: index, record, none. ARGV: member, ttl_ms, the instance
redis.call('DEL', KEYS[3])
local instant = redis.call('TIME')
redis.call('ZADD', KEYS[1], instant[1] * 1000 + math.floor(instant[2] / 1000), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
"""
_LIVING = """
-- KEYS: index, none. ARGV: ttl_ms
redis.call('DEL', KEYS[2])
local instant = redis.call('TIME')
local now = instant[1] * 1000 + math.floor(instant[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""


class Directory:
    """Instances of services on one Redis, under one prefix. Every method raises StoreUnavailable and StoreFull.

    `ttl_s` is how long an instance is believed without a heartbeat.
    """

    def __init__(self, redis: Redis, *, prefix: str = "aip", ttl_s: float = TTL_S) -> None:
        self._redis = redis
        self._prefix = prefix
        self._ttl_ms = round(ttl_s * 1000)
        self._beat = redis.register_script(_BEAT)
        self._living = redis.register_script(_LIVING)

    async def beat(self, instance: Instance) -> None:
        """Write an instance, or that it still lives."""
        keys = (self._index, self._record(_member(instance)), self._none)
        with store_errors():
            await self._beat(keys=keys, args=(_member(instance), self._ttl_ms, encode(instance)))

    async def remove(self, instance: Instance) -> None:
        """Forget an instance."""
        member = _member(instance)
        with store_errors():
            async with self._redis.pipeline(transaction=True) as both:
                both.delete(self._record(member))
                both.zrem(self._index, member)
                await both.execute()

    async def discover(self, name: str | None = None, tag: str | None = None) -> list[Instance]:
        """Return the living instances of a service (of every one with name None), those with a tag, ordered by id."""
        with store_errors():
            members: list[bytes] = await self._living(keys=(self._index, self._none), args=(self._ttl_ms,))
            named = [each.decode("utf-8", "replace") for each in members]
            wanted = [each for each in named if name is None or each.startswith(f"{name}:")]
            records: list[Any] = await self._redis.mget([self._record(member) for member in wanted]) if wanted else []
        found = [instance for raw in records if raw is not None and (instance := decode(raw)) is not None]
        return sorted((one for one in found if tag is None or tag in one.tags), key=lambda one: one.id)

    @property
    def _index(self) -> str:
        return f"{self._prefix}:services"

    @property
    def _none(self) -> str:
        return f"{self._prefix}:none"

    def _record(self, member: str) -> str:
        return f"{self._prefix}:service:{member}"


def _member(instance: Instance) -> str:
    return f"{instance.name}:{instance.id}"
