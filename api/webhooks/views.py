"""Webhook endpoints and deliveries as the API shows them."""

from __future__ import annotations

from typing import Any

from api.webhooks.desk import Registered
from workers.jobs.models import rfc3339
from workers.jobs.webhooks.models import Delivery, Endpoint, Try


def endpoint_json(endpoint: Endpoint) -> dict[str, Any]:
    """Return an endpoint's JSON, without its secret."""
    return {
        "id": endpoint.id,
        "object": "webhook",
        "url": endpoint.url,
        "description": endpoint.description,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "created_at": rfc3339(endpoint.created_ms),
        "updated_at": rfc3339(endpoint.updated_ms),
    }


def registered_json(registered: Registered) -> dict[str, Any]:
    """Return an endpoint's JSON with its secret: what is seen once."""
    return {**endpoint_json(registered.endpoint), "secret": registered.secret}


def delivery_json(delivery: Delivery, *, enabled: bool = True) -> dict[str, Any]:
    """Return a delivery's JSON; to a disabled endpoint there is no next attempt."""
    return {
        "id": delivery.id,
        "object": "webhook_delivery",
        "webhook": delivery.endpoint,
        "type": delivery.type,
        "data": {"id": delivery.about},
        "status": delivery.status.value,
        "created_at": rfc3339(delivery.created_ms),
        "next_attempt_at": rfc3339(delivery.next_ms) if enabled else None,
        "attempts": [_attempt(one) for one in delivery.tries],
    }


def _attempt(one: Try) -> dict[str, Any]:
    return {"at": rfc3339(one.at_ms), "status": one.status, "latency_ms": one.latency_ms, "error": one.error}
