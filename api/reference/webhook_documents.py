"""What the reference says of the routes of webhooks, each with an example."""

from __future__ import annotations

from typing import Any

from api.reference.documents import AUTH, STORE, Document, ok, problems
from api.reference.webhook_schemas import (
    DeliveryList,
    DeliveryView,
    WebhookDeleted,
    WebhookList,
    WebhookView,
    WebhookWithSecret,
)
from infrastructure.core import error_core

WEBHOOK_ID = "whk_5f3c1a9be07d42668f10c2aa"
EVENT_ID = "evt_0192d5f0a1b2c3d4e5f60718293a4b5c"
WEBHOOK: dict[str, Any] = {
    "id": WEBHOOK_ID, "object": "webhook", "url": "https://hooks.example.com/ai", "description": "the nightly run",
    "enabled": True, "disabled_reason": None,
    "created_at": "2026-01-05T12:00:00.000Z", "updated_at": "2026-01-05T12:00:00.000Z",
}  # fmt: skip
WITH_SECRET = {**WEBHOOK, "secret": "whsec_(32 bytes in base64)"}
DELIVERY: dict[str, Any] = {
    "id": EVENT_ID, "object": "webhook_delivery", "webhook": WEBHOOK_ID, "type": "job.completed",
    "data": {"id": "job_0192d5f0a1b2c3d4e5f60718293a4b5c"}, "status": "pending",
    "created_at": "2026-01-05T12:00:00.840Z", "next_attempt_at": "2026-01-05T12:00:06.120Z",
    "attempts": [{"at": "2026-01-05T12:00:01.020Z", "status": 502, "latency_ms": 84, "error": "http_status"}],
}  # fmt: skip
_JSON_BODY = (
    error_core.InvalidJSON, error_core.BodyTooLarge, error_core.UnsupportedMediaType, error_core.ValidationFailed,
)  # fmt: skip
_NONE = (error_core.WebhookNotFound, *AUTH, *STORE)
_REPEATS: Document = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "1 to 255 printable characters: a repeat under the same key does nothing again and is answered the same.",
    "schema": {"type": "string"},
}


def _document(responses: dict[int, Document], **more: Any) -> Document:
    return {"tags": ["webhooks"], "responses": responses, "openapi_extra": more}


def _body(schema: str, example: Any) -> Document:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}
    return {"required": True, "content": {"application/json": content}}


CREATE = _document(
    {
        201: ok(WebhookWithSecret, "Registered. The secret is not shown again.", WITH_SECRET),
        **problems(*_JSON_BODY, error_core.IdempotencyMismatch, error_core.WebhookLimit, *AUTH, *STORE),
    },
    parameters=[_REPEATS],
    requestBody=_body("EndpointRequest", {"url": "https://hooks.example.com/ai", "description": "the nightly run"}),
)
LIST = _document(
    {
        200: ok(WebhookList, "The endpoints.", {"object": "list", "data": [WEBHOOK], "has_more": False}),
        **problems(*AUTH, *STORE),
    }
)
READ = _document({200: ok(WebhookView, "The endpoint.", WEBHOOK), **problems(*_NONE)})
CHANGE = _document(
    {200: ok(WebhookView, "The endpoint as it is now.", WEBHOOK), **problems(*_JSON_BODY, *_NONE)},
    requestBody=_body("EndpointChange", {"enabled": True}),
)
DELETE = _document(
    {
        200: ok(WebhookDeleted, "It is gone.", {"id": WEBHOOK_ID, "object": "webhook", "deleted": True}),
        **problems(*_NONE),
    }
)
ROTATE = _document(
    {
        200: ok(WebhookWithSecret, "The endpoint with its new secret.", WITH_SECRET),
        **problems(error_core.ValidationFailed, *_NONE),
    },
    parameters=[_REPEATS],
)
TEST = _document(
    {
        202: ok(DeliveryView, "The event is on its way.", {**DELIVERY, "type": "webhook.test", "data": {"id": WEBHOOK_ID}, "attempts": []}),
        **problems(error_core.ValidationFailed, error_core.WebhookDisabled, *_NONE),
    },
    parameters=[_REPEATS],
)  # fmt: skip
DELIVERIES = _document(
    {
        200: ok(DeliveryList, "A page.", {"object": "list", "data": [DELIVERY], "has_more": False}),
        **problems(error_core.DeliveryNotFound, error_core.ValidationFailed, *_NONE),
    }
)
REPLAY = _document(
    {202: ok(DeliveryView, "It is due at once.", DELIVERY), **problems(error_core.DeliveryNotFound, *AUTH, *STORE)}
)
BY_ROUTE: dict[tuple[str, str], Document] = {
    ("post", "/api/v1/webhooks"): CREATE,
    ("get", "/api/v1/webhooks"): LIST,
    ("get", "/api/v1/webhooks/{webhook_id}"): READ,
    ("patch", "/api/v1/webhooks/{webhook_id}"): CHANGE,
    ("delete", "/api/v1/webhooks/{webhook_id}"): DELETE,
    ("post", "/api/v1/webhooks/{webhook_id}/rotate"): ROTATE,
    ("post", "/api/v1/webhooks/{webhook_id}/test"): TEST,
    ("get", "/api/v1/webhooks/{webhook_id}/deliveries"): DELIVERIES,
    ("post", "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay"): REPLAY,
}
