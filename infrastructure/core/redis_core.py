"""Redis connections with every wait bounded, and Redis's own errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio as aioredis
from redis import Redis as SyncRedis
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry as SyncRetry

from infrastructure.core.error_core import ConfigError, StoreFull, StoreUnavailable
from infrastructure.core.redis_sentinel import address as sentinel
from infrastructure.core.redis_sentinel import clients

CONNECT_TIMEOUT_S = 5.0
SOCKET_TIMEOUT_S = 30.0
HEALTH_CHECK_S = 25
RETRIES = 2
REFUSING = (exceptions.ReadOnlyError, exceptions.MasterDownError, exceptions.NoScriptError, exceptions.TryAgainError)


def connect(
    url: str, *, max_connections: int, wait_s: float = 20.0, socket_timeout_s: float = SOCKET_TIMEOUT_S
) -> aioredis.Redis:
    """Return an async client over a blocking pool; nothing is connected yet.

    A caller that finds no free connection waits up to `wait_s` seconds: redis-py's default pool raises at once, and a job
    that was claimed by then is stranded. A command whose answer was lost is sent again (at most twice), so whatever must
    not happen twice is a script with a nonce. Behind Sentinel each connection goes to whatever is the master then.
    """
    retry = Retry(ExponentialBackoff(cap=1.0, base=0.05), RETRIES)
    options = _options(url, socket_timeout_s)
    if sentinel.is_sentinel(url):
        where = sentinel.parse(url)
        return clients.async_client(where, max_connections=max_connections, wait_s=wait_s, retry=retry, **options)
    pool = aioredis.BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=wait_s,
        **options,
        retry=retry,
    )
    return aioredis.Redis.from_pool(pool)


def connect_sync(
    url: str,
    *,
    socket_timeout_s: float = SOCKET_TIMEOUT_S,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    retries: int = RETRIES,
) -> SyncRedis:
    """Return a blocking client, for the command line and for tests."""
    retry = SyncRetry(ExponentialBackoff(cap=1.0, base=0.05), retries)
    options = {**_options(url, socket_timeout_s), "socket_connect_timeout": connect_timeout_s}
    if sentinel.is_sentinel(url):
        return clients.sync_client(sentinel.parse(url), retry=retry, **options)
    return SyncRedis.from_url(url, **options, retry=retry)


def _options(url: str, socket_timeout_s: float) -> dict[str, Any]:
    check_url(url)
    options: dict[str, Any] = {
        "socket_timeout": socket_timeout_s,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "health_check_interval": HEALTH_CHECK_S,
        "decode_responses": False,
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    return options


def celery_options(url: str) -> dict[str, Any]:
    """Return what kombu has to know beside the URL: behind Sentinel the master's name, and how a sentinel is asked."""
    if not sentinel.is_sentinel(url):
        return {}
    where = sentinel.parse(url)
    asking = {"socket_timeout": clients.ASK_S, "socket_connect_timeout": clients.ASK_S, **where.sentinel_options()}
    return {"master_name": where.master, "sentinel_kwargs": asking}


def check_url(url: str) -> None:
    """Refuse what is no Redis URL.

    Raises:
        ConfigError: naming what is expected; the URL itself may hold a password and is not repeated.
    """
    if sentinel.is_sentinel(url):
        try:
            sentinel.parse(url)
        except ValueError as exc:
            raise ConfigError([f"redis.url: expected {sentinel.FORM}: {exc}"]) from None
        return
    try:
        parts = urlsplit(url)
        ok = (
            parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        ) or (parts.scheme == "unix" and bool(parts.path))
    except ValueError:
        ok = False
    if not ok:
        raise ConfigError(
            [
                "redis.url: expected redis://[user:password@]host[:port][/db], rediss://…, redis+sentinel://… or unix:///path"
            ]
        )


def celery_url(url: str) -> str:
    """Return the same server as kombu spells it (`redis+socket` for a unix socket, `sentinel` once for each sentinel)."""
    if sentinel.is_sentinel(url):
        return sentinel.parse(url).celery_url()
    return f"redis+socket{url.removeprefix('unix')}" if url.startswith("unix:") else url


def shown(url: str) -> str:
    """Return a URL without its user and password, for messages."""
    if sentinel.is_sentinel(url):
        return sentinel.parse(url).shown()
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what redis-py raises into the service's own errors.

    Raises:
        StoreFull: Redis is out of memory.
        StoreUnavailable: Redis cannot be reached, is loading, read-only or too slow.
    """
    try:
        yield
    except exceptions.OutOfMemoryError as exc:
        raise StoreFull("Redis has reached its memory limit", retry_after_s=5) from exc
    except exceptions.ResponseError as exc:
        if str(exc).startswith(("OOM", "-OOM")) or "OOM command not allowed" in str(exc):
            raise StoreFull("Redis has reached its memory limit", retry_after_s=5) from exc
        if isinstance(exc, REFUSING) or str(exc).startswith(("MISCONF", "NOREPLICAS", "BUSY")):
            raise StoreUnavailable("Redis does not accept writes now", retry_after_s=2) from exc
        raise
    except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as exc:
        raise StoreUnavailable("Redis cannot be reached", retry_after_s=2) from exc
