"""The endpoints of tenants in Redis: registered, read, changed, removed, given new secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.error_core import IdempotencyMismatch, WebhookLimit, WebhookNotFound
from infrastructure.core.redis_core import store_errors
from workers.jobs import keys
from workers.jobs.webhooks.models import Endpoint, NewEndpoint
from workers.jobs.webhooks.scripted import Scripts

IDEMPOTENCY_MS = 86_400_000
NAMES = ("create", "change", "remove", "rotate")
FIELDS = ("tenant", "url", "description", "enabled", "disabled_reason", "created", "updated", "salt", "fingerprint")


class EndpointStore:
    """The endpoints of one prefix. Every method raises StoreUnavailable or StoreFull when Redis does not do its part."""

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._scripts = Scripts(redis, prefix=prefix, names=NAMES)

    async def create(self, new: NewEndpoint, *, most: int) -> tuple[Endpoint, bool]:
        """Register an endpoint; return it, and whether it is new: the same idempotency key brings the same one.

        Raises:
            IdempotencyMismatch: the key was used before, for another body.
            WebhookLimit: the tenant has `most` already.
        """
        digest, body = new.idempotency or ("", "")
        fields: dict[str, str | int] = {"url": new.url, "description": new.description, "enabled": int(new.enabled),
                  "salt": new.salt, "fingerprint": new.fingerprint}  # fmt: skip
        found, how = await self._scripts.run(
            "create", new.id, new.tenant, most, digest, body, IDEMPOTENCY_MS, *_flat(fields)
        )
        if how == b"mismatch":
            raise IdempotencyMismatch("expected the body that this Idempotency-Key came with first, got another one")
        if how == b"full":
            raise WebhookLimit(f"expected at most {most} endpoints of a tenant, got one more")
        return await self.get(found.decode(), tenant=new.tenant), how == b"created"

    async def get(self, endpoint_id: str, *, tenant: str) -> Endpoint:
        """Return an endpoint.

        Raises:
            WebhookNotFound: the tenant has none of this id.
        """
        with store_errors():
            values: Sequence[Any] = await self._redis.hmget(keys.webhook(self._prefix, endpoint_id), FIELDS)
        if values[0] is None or values[0].decode() != tenant:
            raise _not_found()
        return _endpoint(endpoint_id, values)

    async def list(self, tenant: str) -> list[Endpoint]:
        """Return a tenant's endpoints, newest first."""
        with store_errors():
            found: list[Any] = await self._redis.zrevrange(keys.webhooks(self._prefix, tenant), 0, -1)
            ids = [one.decode() for one in found]
            async with self._redis.pipeline(transaction=False) as pipe:
                for endpoint_id in ids:
                    pipe.hmget(keys.webhook(self._prefix, endpoint_id), FIELDS)
                rows = await pipe.execute()
        return [_endpoint(endpoint_id, row) for endpoint_id, row in zip(ids, rows, strict=True) if row[0] is not None]

    async def change(self, endpoint_id: str, *, tenant: str, fields: Mapping[str, str | int]) -> Endpoint:
        """Change fields of an endpoint (url, description, enabled) and return it.

        Raises:
            WebhookNotFound: the tenant has none of this id.
        """
        if fields and not await self._scripts.run("change", endpoint_id, tenant, *_flat(fields)):
            raise _not_found()
        return await self.get(endpoint_id, tenant=tenant)

    async def remove(self, endpoint_id: str, *, tenant: str) -> None:
        """Remove an endpoint; what waits for it is not sent.

        Raises:
            WebhookNotFound: the tenant has none of this id.
        """
        if not await self._scripts.run("remove", endpoint_id, tenant):
            raise _not_found()

    async def rotate(
        self, endpoint_id: str, *, tenant: str, salt: str, fingerprint: str, overlap_ms: int
    ) -> Endpoint:  # fmt: skip
        """Let an endpoint's secret be that of a new salt, and the old one sign too for `overlap_ms`.

        Raises:
            WebhookNotFound: the tenant has none of this id.
        """
        if not await self._scripts.run("rotate", endpoint_id, tenant, salt, fingerprint, overlap_ms):
            raise _not_found()
        return await self.get(endpoint_id, tenant=tenant)


def _endpoint(endpoint_id: str, values: Sequence[Any]) -> Endpoint:
    known = {name: value.decode() for name, value in zip(FIELDS, values, strict=True) if value is not None}
    return Endpoint(
        id=endpoint_id,
        tenant=known["tenant"],
        url=known["url"],
        description=known.get("description", ""),
        enabled=known["enabled"] == "1",
        disabled_reason=known.get("disabled_reason"),
        created_ms=int(known["created"]),
        updated_ms=int(known["updated"]),
        salt=known["salt"],
        fingerprint=known["fingerprint"],
    )


def _flat(fields: Mapping[str, str | int]) -> list[str | int]:
    return [part for pair in fields.items() for part in pair]


def _not_found() -> WebhookNotFound:
    return WebhookNotFound("there is no such webhook endpoint among yours; ids are whk_ and 24 hex digits")
