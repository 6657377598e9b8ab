"""The cache of a service: memory in front (L1), Redis behind (L2), changes heard from everywhere."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any

from redis.asyncio import Redis

from infrastructure.base.base_cache import BaseCache
from infrastructure.core.cache_core.envelope import comes_back, decode, encode
from infrastructure.core.cache_core.memory import Memory
from infrastructure.core.cache_core.names import DEFAULT_NAMESPACE, Names, check_part, name_of
from infrastructure.core.cache_core.remote import MAX_TTL_MS
from infrastructure.core.cache_core.scopes import Scope
from infrastructure.core.cache_core.tiers import Tiers
from infrastructure.core.config_core import get_config
from infrastructure.core.error_core import ConfigError
from infrastructure.core.logger_core import get_logger
from infrastructure.core.redis_core import connect

MAX_BYTES = 64_000_000
PATIENCE_S = 0.05
CONNECTIONS = 8
MAX_TTL_S = MAX_TTL_MS / 1_000
PREFIX = "aip"


class CoreCache(BaseCache):
    """Values under a namespace and a key: JSON values or bytes, each for a while.

    A value that was read or set is a copy: changing it changes nothing here. JSON's own limits hold: a tuple comes back as a
    list. Nothing that Redis does raises, and nobody waits for Redis longer than `patience_s`; without it L1 serves.

    Given neither `redis` nor `redis_url` it uses the Redis of the process's configuration (`cache.redis_url`, else `redis.url`;
    memory only where there is neither), looked up at the first use, and then calls `start` itself.

    Between `start` and `close` it hears what other processes change: within 100 ms, and within 5 s when a message was
    lost, since L1 is not believed without word from Redis for longer than 4 s (unless Redis is known to be away). Without
    `start` it tells others of its own changes but hears none; what it keeps in memory is then only bounded by its TTL.

    All use is by coroutines of one event loop; it is not for several threads.

    Args:
        service_name: whose cache; also the name of its place in Redis, unless `space` is given.
        max_size: most entries in memory.
        default_ttl: seconds that a value lives when nothing else is said; at most 7 days.
        redis: a client to use, never closed here; its socket timeout must be longer than 1 s.
        redis_url: where to connect to, in place of `redis`; empty: memory only.
        prefix: of every key in Redis; None: the configuration's where its Redis is used, else `aip`.
        space: name of the place in Redis, of letters, digits, `_`, `.`, `-`.
        max_bytes: most bytes in memory, overhead counted.
        patience_s: most seconds that a caller waits for Redis, while the event loop is free. A value that was set then is
            written behind him.
        hold_s: seconds for which a value that was set waits for a Redis that is away, to be written when it is back. For
            values that hold whoever wrote last, such as answers; at 0 what was set meanwhile is in memory only.
        keep_remote: False keeps values in memory only, and uses Redis to tell changes.
        clock: monotonic seconds.

    Raises:
        ValueError: an argument is outside its range.
        ConfigError: `redis_url` is none.
    """

    def __init__(
        self,
        service_name: str,
        max_size: int = 1000,
        default_ttl: int = 300,
        *,
        redis: Redis | None = None,
        redis_url: str | None = None,
        prefix: str | None = None,
        space: str | None = None,
        max_bytes: int = MAX_BYTES,
        patience_s: float = PATIENCE_S,
        hold_s: float = 0.0,
        keep_remote: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(service_name)
        if max_size < 1 or max_bytes < 1:
            raise ValueError(f"expected max_size and max_bytes to be at least 1, got {max_size} and {max_bytes}")
        self._default_ttl_s = _checked_ttl(default_ttl)
        self._own = connect(redis_url, max_connections=CONNECTIONS) if redis is None and redis_url else None
        self._redis = redis or self._own
        self._as_configured = redis is None and redis_url is None
        self._starts_itself = self._as_configured
        self._prefix = prefix
        self._space = check_part(space or service_name, "the name of a cache")
        self._memory = Memory(max_entries=max_size, max_bytes=max_bytes, clock=clock)
        self._patience_s = patience_s
        self._hold_s = hold_s
        self._keep_remote = keep_remote
        self._clock = clock

    @cached_property
    def _tiers(self) -> Tiers:
        """Both tiers, made at the first use: only then the configuration is asked."""
        log, prefix = get_logger(self.service_name, "cache"), self._prefix or PREFIX
        if self._as_configured:
            try:
                url, configured = _configured()
            except ConfigError as exc:
                log.warning("Cache keeps to memory, there is no good configuration", exc=exc)
            else:
                prefix = self._prefix or configured
                self._own = self._redis = connect(url, max_connections=CONNECTIONS) if url else None
        return Tiers(
            redis=self._redis,
            names=Names(prefix=prefix, space=self._space),
            memory=self._memory,
            patience_s=self._patience_s,
            hold_s=self._hold_s,
            keep_remote=self._keep_remote,
            clock=self._clock,
            log=log,
        )

    def _used(self) -> Tiers:
        """Return the tiers for a use on a running loop."""
        tiers = self._tiers
        if self._starts_itself:
            self._starts_itself = False
            tiers.begin()
        return tiers

    async def start(self) -> None:
        """Begin to hear other processes, and to clear away what has expired. Redis may come later."""
        self._starts_itself = False
        self._tiers.begin()

    async def close(self) -> None:
        """Write what is still to be written, for 2 s at most; end what `start` began, and the cache's own connections."""
        self._starts_itself = False
        await self._tiers.close()
        if self._own is not None:
            await self._own.aclose()

    @property
    def listening(self) -> bool:
        """Say whether changes of other processes are heard now."""
        return self._tiers.listening

    async def get(self, key: str, *, namespace: str = DEFAULT_NAMESPACE) -> Any:
        """Return the value under a key; None when there is none.

        Raises:
            TypeError, ValueError: the key or the namespace is none.
        """
        hit = await self._used().find(name_of(key, namespace))
        return None if hit is None else decode(hit.payload)

    async def get_with_stats(self, key: str, *, namespace: str = DEFAULT_NAMESPACE) -> tuple[Any, dict[str, Any]]:
        """Return the value under a key, and how it was found.

        `hit`, `tier` (`l1`, `l2` or None), `latency_ms`, `age_s` since it was written and `ttl_s` that it lives on (None for
        a miss). A kept None is a hit.
        """
        began = time.perf_counter()
        hit = await self._used().find(name_of(key, namespace))
        value = None if hit is None else decode(hit.payload)
        latency_ms = (time.perf_counter() - began) * 1_000
        found = (None, None, None) if hit is None else (hit.tier, hit.age_s, hit.left_s)
        tier, age_s, left_s = found
        return value, {
            "hit": hit is not None, "tier": tier, "latency_ms": latency_ms, "age_s": age_s, "ttl_s": left_s,
        }  # fmt: skip

    async def set(self, key: str, value: Any, ttl: float | None = None, *, namespace: str = DEFAULT_NAMESPACE) -> None:
        """Keep a value for `ttl` seconds (None: the default), in place of any other, in every process.

        Raises:
            TypeError: the value is neither JSON nor bytes, or the key is no text.
            ValueError: the key, the namespace, the ttl or the length of the value is out of range.
        """
        await self._used().keep(name_of(key, namespace), encode(value), self._ttl_s(ttl))

    async def set_with_validation(
        self, key: str, value: Any, ttl: float | None = None, *, namespace: str = DEFAULT_NAMESPACE
    ) -> bool:
        """Keep a value that will come back as it is; True when it is kept.

        False, and nothing changes: an argument is out of range, or JSON would give back something else (NaN, a tuple, an
        enum, ...). False also when neither Redis nor memory took it.
        """
        try:
            name, ttl_s, payload = name_of(key, namespace), self._ttl_s(ttl), encode(value)
        except (TypeError, ValueError):
            self._tiers.stats.refused += 1
            return False
        if not comes_back(value, payload):
            self._tiers.stats.refused += 1
            return False
        return await self._used().keep(name, payload, ttl_s)

    async def get_or_load(
        self,
        key: str,
        load: Callable[[], Awaitable[Any]],
        ttl: float | None = None,
        *,
        namespace: str = DEFAULT_NAMESPACE,
    ) -> Any:
        """Return the value under a key; where there is none, what `load` gives, which is then kept.

        What anybody changed or invalidated while it was loaded is returned, but not kept: it may be older than the change.
        Whatever `load` raises comes through.
        """
        name = name_of(key, namespace)
        hit = await self._used().find(name)
        if hit is not None:
            return decode(hit.payload)
        with self._tiers.flights.over(name) as flight:
            since = await self._tiers.last_change()
            value = await load()
            if flight.lets(None):
                await self._tiers.keep(name, encode(value), self._ttl_s(ttl), since=since)
        return value

    async def delete(self, key: str, *, namespace: str = DEFAULT_NAMESPACE) -> bool:
        """Forget a value, here at once and in every process that listens; see `invalidate` for what is returned."""
        name = name_of(key, namespace)
        self._tiers.stats.deletes += 1
        return await self._used().forget(Scope(*name))

    async def invalidate(self, *, namespace: str | None = None, prefix: str = "") -> bool:
        """Forget every value of a namespace whose key begins with `prefix`; without a namespace, every value of the cache.

        Costs the same for few and for many. Returns whether Redis took it: then no later read, by anyone, finds what was
        there, and memories that listen hear it within 100 ms. False: Redis is away; it is made up for when it is back, and until
        then other processes may go on with what they have in memory.

        Raises:
            ValueError: the namespace is none, or a prefix is given without one.
        """
        if namespace is None and prefix:
            raise ValueError("expected a namespace with a prefix, got a prefix alone")
        self._tiers.stats.invalidations += 1
        return await self._used().forget(Scope(None if namespace is None else check_part(namespace), None, prefix))

    def update_ttl(self, ttl: float) -> None:
        """Set the default ttl (seconds) of what is set from now on; what is kept already lives as it was told.

        Raises:
            ValueError: it is not more than 0 and at most 7 days.
        """
        self._default_ttl_s = _checked_ttl(ttl)

    def get_performance_stats(self) -> dict[str, Any]:
        """Return what the cache did since its start: figures only, no key and no value."""
        return self._figures(buckets=False)

    def get_mergeable_stats(self) -> dict[str, Any]:
        """Return the same with the buckets of each histogram, for the fleet's figures: see `performance_core/merging.py`."""
        return self._figures(buckets=True)

    def _figures(self, *, buckets: bool) -> dict[str, Any]:
        figures = self._tiers.figures(buckets=buckets)
        figures["ttl"]["default_s"] = self._default_ttl_s
        return {"service": self.service_name, **figures}

    def _ttl_s(self, ttl: float | None) -> float:
        return self._default_ttl_s if ttl is None else _checked_ttl(ttl)


def _configured() -> tuple[str | None, str]:
    """Return the address of the configuration's Redis for caches, None without one, and its prefix."""
    config = get_config()
    return config.get_cache_config()["redis_url"], config.settings.redis.prefix


def _checked_ttl(ttl: float) -> float:
    if not 0 < ttl <= MAX_TTL_S:
        raise ValueError(f"expected a ttl to be more than 0 and at most {MAX_TTL_S:.0f} seconds, got {ttl}")
    return ttl
