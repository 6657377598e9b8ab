"""`ai-provider keys`: API keys made, listed and revoked, straight in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

from api.cli import output, reach
from api.cli.errors import CommandFailed
from api.cli.stack import embedded_redis
from api.keys.keys import KeyInfo, KeyStore
from infrastructure.core.config_core import Settings, load
from infrastructure.core.redis_core import connect
from infrastructure.core.service_secret import hmac_secret

T = TypeVar("T")


def create(*, tenant: str, operator: bool, name: str, queued: int | None = None) -> None:
    """Make a key and write it, the only time that it is seen."""
    key = _with_keys(lambda keys: keys.create(tenant, operator=operator, name=name, queued=queued))
    output.say(key)
    output.note(
        "Keep it now: it is not shown again. Within seconds every caller needs a key; "
        "this command line takes its own from AI_PROVIDER_API_KEY."
    )


def list_keys(*, as_json: bool) -> None:
    """Write every key ever made, without what proves it."""
    keys = _with_keys(lambda keys: keys.list())
    if as_json:
        output.dump([_json(key) for key in keys])
        return
    if not keys and output.stdout().is_terminal:
        output.say("No keys: the API listens on loopback only and asks nobody for one.")
        return
    rows = [
        (
            key.id,
            key.tenant,
            "operator" if key.operator else "tenant",
            "revoked" if key.revoked_ms is not None else "valid",
            _instant(key.created_ms) or "",
            key.name,
        )
        for key in keys
    ]
    output.table(("id", "tenant", "kind", "state", "created", "name"), rows)


def revoke(key_id: str) -> None:
    """Revoke a key; the whole text of a key does as well as its id.

    Raises:
        CommandFailed: there is no such key.
    """
    plain = key_id.split("_")[1] if key_id.startswith("aip_") else key_id
    if not _with_keys(lambda keys: keys.revoke(plain)):
        raise CommandFailed("there is no such key: see `ai-provider keys list`")
    output.say(f"{plain} revoked")


@asynccontextmanager
async def key_store(settings: Settings, redis_url: str) -> AsyncIterator[KeyStore]:
    """Hold the keys of the service in this Redis."""
    redis = connect(redis_url, max_connections=4)
    keys = KeyStore(redis, prefix=settings.redis.prefix, secret=hmac_secret(settings))
    try:
        yield keys
    finally:
        await keys.stop()
        await redis.aclose()


def _with_keys(ask: Callable[[KeyStore], Awaitable[T]]) -> T:
    """Ask the key store, on the configured Redis or on the embedded one, which is started for the moment if need be."""
    loaded = load()
    settings = loaded.settings
    if settings.redis.url is not None:
        url = settings.redis.url.get_secret_value()
        reach.check_redis(url, origin=loaded.origins.get("redis.url", ""))
        return asyncio.run(_ask(settings, url, ask))
    embedded = embedded_redis(settings)
    url = embedded.start()
    try:
        return asyncio.run(_ask(settings, url, ask))
    finally:
        embedded.stop()


async def _ask(settings: Settings, url: str, ask: Callable[[KeyStore], Awaitable[T]]) -> T:
    async with key_store(settings, url) as keys:
        return await ask(keys)


def _json(key: KeyInfo) -> dict[str, object]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "operator": key.operator,
        "name": key.name,
        "queued": key.queued,
        "created_at": _instant(key.created_ms),
        "revoked_at": _instant(key.revoked_ms),
    }


def _instant(ms: int | None) -> str | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
