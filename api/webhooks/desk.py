"""What tenants do with their webhook endpoints: every rule of it that is not HTTP's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from infrastructure.core.config_core.sections import Webhooks
from infrastructure.core.error_core import WebhookNotFound
from workers.jobs.ids import new_nonce
from workers.jobs.webhooks import signing
from workers.jobs.webhooks.asked import EndpointChange, EndpointRequest, refused
from workers.jobs.webhooks.endpoints import EndpointStore
from workers.jobs.webhooks.guard import AddressRefused, Guard, Unresolved
from workers.jobs.webhooks.ids import new_endpoint_id, new_event_id
from workers.jobs.webhooks.models import TEST_EVENT, Delivery, Endpoint, NewEndpoint
from workers.jobs.webhooks.outbox import Outbox
from workers.jobs.webhooks.urls import UrlRefused, target

Idempotency = tuple[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """An endpoint with its secret, which is not shown again. `created`: it is new, not an earlier request's."""

    endpoint: Endpoint
    secret: str
    created: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookDesk:
    """The endpoints of all tenants. `secret` is the service's, of which each endpoint's own is made."""

    endpoints: EndpointStore
    outbox: Outbox
    guard: Guard
    secret: bytes

    async def create(self, asked: EndpointRequest, *, tenant: str, once: Idempotency, rules: Webhooks) -> Registered:
        """Register an endpoint whose URL may be called; the same idempotency key brings the same one, secret included.

        Raises:
            ValidationFailed: the URL may not be called.
            WebhookLimit, IdempotencyMismatch: as EndpointStore.create.
        """
        new = NewEndpoint(
            id=new_endpoint_id(),
            tenant=tenant,
            url=await self._checked(asked.url, rules),
            description=asked.description,
            enabled=asked.enabled,
            salt=signing.new_salt(),
            fingerprint=signing.fingerprint(self.secret),
            idempotency=once,
        )
        endpoint, created = await self.endpoints.create(new, most=rules.most_endpoints)
        return Registered(endpoint=endpoint, secret=self._secret_of(endpoint), created=created)

    async def change(self, endpoint_id: str, asked: EndpointChange, *, tenant: str, rules: Webhooks) -> Endpoint:
        """Change what was asked for; an enabled endpoint gets what waited for it."""
        given = asked.model_dump(exclude_unset=True, exclude_none=True)
        if "url" in given:
            await self.endpoints.get(
                endpoint_id, tenant=tenant
            )  # nothing is resolved for an endpoint that is not theirs
            given["url"] = await self._checked(given["url"], rules)
        fields: dict[str, Any] = {**given, **({"enabled": int(given["enabled"])} if "enabled" in given else {})}
        return await self.endpoints.change(endpoint_id, tenant=tenant, fields=fields)

    async def rotate(self, endpoint_id: str, *, tenant: str, once: Idempotency, rules: Webhooks) -> Registered:
        """Give an endpoint a new secret; the old one signs too for the overlap. The same idempotency key: the same secret."""
        salt = signing.new_salt() if once is None else signing.salt_from(self.secret, tenant, endpoint_id, once[0])
        endpoint = await self.endpoints.rotate(
            endpoint_id,
            tenant=tenant,
            salt=salt,
            fingerprint=signing.fingerprint(self.secret),
            overlap_ms=round(1_000 * rules.overlap_s),
        )
        return Registered(endpoint=endpoint, secret=self._secret_of(endpoint))

    async def test(self, endpoint_id: str, *, tenant: str, once: Idempotency) -> Delivery:
        """Send an endpoint a test event; the same idempotency key is the same event.

        Raises:
            WebhookNotFound, WebhookDisabled: as Outbox.emit.
        """
        event_id = new_event_id()
        if once is not None:
            event_id = "evt_" + hashlib.sha256(f"{tenant}\0{endpoint_id}\0{once[0]}".encode()).hexdigest()[:32]
        await self.outbox.emit(event_id, endpoint_id, tenant=tenant, kind=TEST_EVENT, about=endpoint_id)
        return await self.outbox.get(event_id, endpoint_id)

    async def replay(self, delivery_id: str, endpoint_id: str, *, tenant: str) -> Delivery:
        """Make a delivery due again at once, under its id."""
        return await self.outbox.replay(delivery_id, endpoint_id, tenant=tenant, nonce=new_nonce())

    async def check_usable(self, endpoint_id: str, *, tenant: str, rules: Webhooks) -> None:
        """Return when a job may name this endpoint.

        Raises:
            ValidationFailed: it is none of the tenant's, or disabled.
            WebhookBacklog: too much waits for it.
        """
        try:
            endpoint = await self.endpoints.get(endpoint_id, tenant=tenant)
        except WebhookNotFound:
            raise refused("webhook", "expected the id of one of your webhook endpoints, got an unknown one") from None
        if not endpoint.enabled:
            raise refused("webhook", "expected an enabled webhook endpoint, got a disabled one")
        await self.outbox.check_open(endpoint_id, most_pending=rules.most_pending)

    async def _checked(self, url: str, rules: Webhooks) -> str:
        try:
            found = target(url, rules)
            await self.guard.check_target(found)
        except (UrlRefused, AddressRefused, Unresolved) as exc:
            raise refused("url", str(exc)) from None
        return found.url

    def _secret_of(self, endpoint: Endpoint) -> str:
        return signing.shown_secret(signing.secret_key(self.secret, endpoint.id, endpoint.salt))
