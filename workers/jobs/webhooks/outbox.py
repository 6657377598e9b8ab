"""The outbox in Redis: events written with what they tell, claimed by senders, settled, listed and replayed.

What a job's end writes is written by the job's own script (`include/outbox.lua` of the store).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from redis.asyncio import Redis

from infrastructure.core.error_core import DeliveryNotFound, WebhookBacklog, WebhookDisabled, WebhookNotFound
from infrastructure.core.redis_core import store_errors
from workers.jobs import keys
from workers.jobs.webhooks.models import Delivery, DeliveryStatus, Due, Ending, Settled, Try
from workers.jobs.webhooks.scripted import Scripts

NAMES = ("claim", "settle", "emit", "replay")
LOOKED_AT = 100
LEAST_FAILURES = 10
"""Attempts in a row that took nothing, below which an endpoint is not held to be failing for good."""
MOST_ENDED = 1_000
"""Ended deliveries that are kept of one endpoint."""
FIELDS = ("endpoint", "type", "about", "state", "created", "tries")
BUSY_RETRY_S = 60.0


class Outbox:
    """Deliveries of one prefix. Every method raises StoreUnavailable or StoreFull when Redis does not do its part."""

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._scripts = Scripts(redis, prefix=prefix, names=NAMES)

    async def claim(self, nonce: str, *, most: int, per_endpoint: int, per_tenant: int, lease_ms: int) -> list[Due]:
        """Take up to `most` deliveries that are due, with no more than so many under way to one endpoint or tenant.

        After `lease_ms` they are due again for anybody. The same nonce gets the same ones.
        """
        return [
            _due(row, nonce)
            for row in await self._scripts.run("claim", nonce, most, per_endpoint, per_tenant, lease_ms, LOOKED_AT)
        ]  # fmt: skip

    async def settle(
        self,
        due: Due,
        ending: Ending,
        *,
        attempt: Try | None = None,
        wait_ms: int = 0,
        reason: str = "",
        disable_after_ms: int = 0,
    ) -> Settled:
        """Write what became of a claimed delivery. `reason` disables its endpoint, as failing for so long does."""
        text = b"" if attempt is None else orjson.dumps(attempt)
        how, disabled = await self._scripts.run(
            "settle", due.id, due.claim, ending, text, wait_ms, reason, disable_after_ms, LEAST_FAILURES, MOST_ENDED
        )
        return Settled(stale=how == b"stale", disabled=disabled.decode() or None)

    async def emit(self, event_id: str, endpoint_id: str, *, tenant: str, kind: str, about: str) -> None:
        """Write an event that no job makes; its id makes it once.

        Raises:
            WebhookNotFound: the tenant has no such endpoint.
            WebhookDisabled: nothing is sent to it now.
        """
        how = await self._scripts.run("emit", event_id, endpoint_id, tenant, kind, about)
        if how == b"none":
            raise WebhookNotFound("there is no such webhook endpoint among yours")
        if how == b"disabled":
            raise WebhookDisabled("expected the endpoint to be enabled, got a disabled one")

    async def check_open(self, endpoint_id: str, *, most_pending: int) -> None:
        """Return when another job may name this endpoint.

        Raises:
            WebhookBacklog: too many deliveries wait for it.
        """
        with store_errors():
            waiting: int = await self._redis.zcard(keys.outbox(self._prefix, endpoint_id))
        if waiting >= most_pending:
            raise WebhookBacklog(
                f"expected fewer than {most_pending} deliveries to wait for the webhook endpoint, got {waiting}",
                retry_after_s=BUSY_RETRY_S,
            )

    async def replay(self, delivery_id: str, endpoint_id: str, *, tenant: str, nonce: str) -> Delivery:
        """Make a delivery due at once, under its id, with the whole schedule before it; return it.

        Raises:
            DeliveryNotFound: the endpoint is not the tenant's, or has no such delivery.
        """
        if not await self._scripts.run("replay", delivery_id, endpoint_id, tenant, nonce):
            raise _no_delivery()
        return await self.get(delivery_id, endpoint_id)

    async def get(self, delivery_id: str, endpoint_id: str) -> Delivery:
        """Return a delivery of an endpoint, which the caller has seen to be its tenant's.

        Raises:
            DeliveryNotFound: there is none.
        """
        found = await self._read([delivery_id], endpoint_id)
        if not found:
            raise _no_delivery()
        return found[0]

    async def page(self, endpoint_id: str, *, limit: int, after: str | None) -> tuple[list[Delivery], bool]:
        """Return up to `limit` deliveries, newest first, from behind the id `after`, and whether there are more."""
        log = keys.outbox(self._prefix, endpoint_id, "log")
        with store_errors():
            rank: Any = -1 if after is None else await self._redis.zrevrank(log, after)
            if rank is None:
                raise _no_delivery()
            found: list[Any] = await self._redis.zrevrange(log, rank + 1, rank + 1 + limit)
        ids = [one.decode() for one in found]
        return await self._read(ids[:limit], endpoint_id), len(ids) > limit

    async def _read(self, ids: Sequence[str], endpoint_id: str) -> list[Delivery]:
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for delivery_id in ids:
                    pipe.hmget(keys.delivery(self._prefix, delivery_id), FIELDS)
                    pipe.zscore(keys.outbox(self._prefix, endpoint_id), delivery_id)
                answers = await pipe.execute()
        rows = zip(ids, answers[::2], answers[1::2], strict=True)
        return [
            _delivery(delivery_id, row, due)
            for delivery_id, row, due in rows
            if row[0] is not None and row[0].decode() == endpoint_id
        ]


def _due(row: Sequence[Any], claim: str) -> Due:
    delivery_id, endpoint, kind, about, created, tried, url, salt, old_salt, fingerprint = (
        part.decode() for part in row
    )  # fmt: skip
    return Due(
        id=delivery_id, endpoint=endpoint, claim=claim, type=kind, about=about, created_ms=int(created), tried=int(tried),
        url=url, salts=(salt, old_salt) if old_salt else (salt,), fingerprint=fingerprint,
    )  # fmt: skip


def _delivery(delivery_id: str, row: Sequence[Any], due: float | None) -> Delivery:
    endpoint, kind, about, state, created, tries = row
    return Delivery(
        id=delivery_id,
        endpoint=endpoint.decode(),
        type=kind.decode(),
        about=about.decode(),
        status=DeliveryStatus(state.decode()),
        created_ms=int(created),
        next_ms=None if due is None else int(due),
        tries=tuple(Try(**one) for one in orjson.loads(tries)) if tries else (),
    )


def _no_delivery() -> DeliveryNotFound:
    return DeliveryNotFound(
        "there is no such delivery of this endpoint; they are kept for a week, the last 1,000 that ended"
    )
