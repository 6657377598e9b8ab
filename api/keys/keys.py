"""API keys: made, listed, revoked and recognised; only their HMAC is kept.

A key is `aip_{id}_{secret}`: the id (12 hex digits) finds it, the secret (256 random bits) proves it. In Redis, under the
service's prefix, without expiry (a key lives until it is revoked, and is listed after that):

    key:{id}   hash   hmac (SHA-256 under the service's secret, hex), tenant, operator (0 or 1), name,
                      created, revoked (ms since 1970, by Redis; `revoked` only when it is), queued (its own limit
                      of jobs that wait, where it has one)
    keys       set    the id of every key ever made; not empty: callers need a key

What was read is remembered for 5 s in a process's memory alone. Between `start` and `stop` it is forgotten as soon as any
process revokes the key: see CoreCache, whose log of changes is `cache:ai-provider-keys::log`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.cache_core import CoreCache
from infrastructure.core.error_core import InvalidKey, ValidationFailed
from infrastructure.core.redis_core import store_errors

CACHE_S = 5
CACHE_ENTRIES = 10_000
CACHE_BYTES = 16_000_000
_ANY_KEY = "any-key"
MAX_NAME = 100
MAX_QUEUED = 100_000_000
_KEY = re.compile(r"aip_([0-9a-f]{12})_[A-Za-z0-9_-]{43}\Z")
_TENANT = re.compile(r"[a-z0-9_-]{1,64}\Z")
_NOBODY = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls. `key_id` is None for a caller without a key, where no key is needed."""

    tenant: str
    operator: bool
    key_id: str | None
    queued: int | None = None
    """Most jobs of its tenant that may wait when this caller submits; None: as configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """What is known of a key, without what proves it. Times are milliseconds since 1970."""

    id: str
    tenant: str
    operator: bool
    name: str
    created_ms: int
    revoked_ms: int | None
    queued: int | None = None


class KeyStore:
    """The keys of one service. Every method raises StoreUnavailable or StoreFull when Redis does not do its part."""

    def __init__(
        self, redis: Redis, *, prefix: str, secret: bytes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._secret = secret
        self._any = False
        self.cache = CoreCache(
            "ai-provider-keys",
            CACHE_ENTRIES,
            CACHE_S,
            redis=redis,
            prefix=prefix,
            max_bytes=CACHE_BYTES,
            keep_remote=False,
            clock=clock,
        )

    async def start(self) -> None:
        """Begin to hear of keys that other processes make and revoke. Redis may come later."""
        await self.cache.start()

    async def stop(self) -> None:
        """End what `start` began."""
        await self.cache.close()

    async def create(self, tenant: str, *, operator: bool = False, name: str = "", queued: int | None = None) -> str:
        """Make a key for a tenant and return it: the only time that it is seen.

        `queued` is the most jobs of the tenant that may wait when this key submits, None: as configured.

        Raises:
            ValidationFailed: the tenant, the name or the number breaks a rule.
        """
        if not _TENANT.match(tenant):
            raise ValidationFailed("tenant: expected 1 to 64 of a-z, 0-9, _ and -")
        if len(name) > MAX_NAME or not name.isprintable():
            raise ValidationFailed(f"name: expected at most {MAX_NAME} printable characters")
        if queued is not None and not 1 <= queued <= MAX_QUEUED:
            raise ValidationFailed(f"queued: expected 1 to {MAX_QUEUED} jobs, got {queued}")
        key_id = secrets.token_hex(6)
        key = f"aip_{key_id}_{secrets.token_urlsafe(32)}"
        fields: dict[Any, Any] = {
            "hmac": self._digest(key),
            "tenant": tenant,
            "operator": int(operator),
            "name": name,
            **({} if queued is None else {"queued": queued}),
        }
        with store_errors():
            fields["created"] = await self._now_ms()
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(self._at(key_id), mapping=fields)
                pipe.sadd(self._all, key_id)
                await pipe.execute()
        self._any = True
        await self.cache.delete(_ANY_KEY)
        return key

    async def list(self) -> tuple[KeyInfo, ...]:
        """Return every key ever made, oldest first."""
        with store_errors():
            members: set[Any] = await self._redis.smembers(self._all)
            ids = sorted(member.decode() for member in members)
            async with self._redis.pipeline(transaction=False) as pipe:
                for key_id in ids:
                    pipe.hgetall(self._at(key_id))
                rows = await pipe.execute()
        found = [_info(key_id, row) for key_id, row in zip(ids, rows, strict=True) if row]
        return tuple(sorted(found, key=lambda key: (key.created_ms, key.id)))

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key: no front door knows it any more within 100 ms, or 5 s where Redis fails it. False: no such key."""
        with store_errors():
            if not await self._redis.sismember(self._all, key_id):
                return False
            await self._redis.hsetnx(self._at(key_id), "revoked", str(await self._now_ms()))
            digest: Any = await self._redis.hget(self._at(key_id), "hmac")
        if digest is not None:
            await self.cache.delete(digest.decode())
        return True

    async def exist(self) -> bool:
        """Say whether a key was ever made; then every caller needs one. A no is remembered for 5 s, a yes for good."""
        if not self._any:
            self._any = bool(await self.cache.get_or_load(_ANY_KEY, self._look_for_any))
        return self._any

    async def authenticate(self, key: str) -> Principal:
        """Return whose key it is; the answer is remembered for 5 s.

        Raises:
            InvalidKey: it is malformed, unknown or revoked (they look the same).
        """
        digest = self._digest(key)
        return Principal(**await self.cache.get_or_load(digest, lambda: self._look_up(key, digest)))

    async def _look_for_any(self) -> bool:
        with store_errors():
            return bool(await self._redis.scard(self._all))

    async def _look_up(self, key: str, digest: str) -> dict[str, Any]:
        match = _KEY.match(key)
        key_id = match[1] if match else "0" * 12
        with store_errors():
            row: dict[Any, Any] = await self._redis.hgetall(self._at(key_id))
        # Compared even where there is nothing to compare with, so that an unknown id takes as long as a wrong secret.
        same = hmac.compare_digest(row.get(b"hmac", _NOBODY.encode()), digest.encode())
        if not same or not match or b"revoked" in row:
            raise InvalidKey("the API key is not valid")
        return {"tenant": row[b"tenant"].decode(), "operator": row[b"operator"] == b"1", "key_id": key_id,
                "queued": _number(row.get(b"queued"))}  # fmt: skip

    @property
    def _all(self) -> str:
        return f"{self._prefix}:keys"

    def _at(self, key_id: str) -> str:
        return f"{self._prefix}:key:{key_id}"

    def _digest(self, key: str) -> str:
        return hmac.new(self._secret, key.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    async def _now_ms(self) -> int:
        seconds, micros = await self._redis.time()
        return int(seconds) * 1_000 + int(micros) // 1_000


def _info(key_id: str, row: dict[bytes, bytes]) -> KeyInfo:
    return KeyInfo(
        id=key_id,
        tenant=row[b"tenant"].decode(),
        operator=row[b"operator"] == b"1",
        name=row.get(b"name", b"").decode(),
        created_ms=int(row[b"created"]),
        revoked_ms=_number(row.get(b"revoked")),
        queued=_number(row.get(b"queued")),
    )


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(value)
