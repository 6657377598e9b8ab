"""`/api/v1/webhooks/{id}/deliveries`: what was sent to an endpoint, sent again, and test events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from api.front import front_of, within
from api.keys.auth import principal
from api.keys.keys import Principal
from api.reference import webhook_documents as documents
from api.views import answer
from api.webhooks.once import once
from api.webhooks.views import delivery_json

router = APIRouter()
Caller = Annotated[Principal, Depends(principal)]
Limit = Annotated[int, Query(ge=1, le=100, description="Deliveries on a page.")]
After = Annotated[
    str | None,
    Query(description="The last id of the page before.", pattern=r"^evt_[0-9a-f]{32}$"),
]


@router.post("/api/v1/webhooks/{webhook_id}/test", status_code=202, **documents.TEST)
async def test_webhook(request: Request, webhook_id: str, caller: Caller) -> Response:
    """Send a `webhook.test` event to an endpoint, as a job's end is sent."""
    sent = await within(front_of(request.scope).webhooks.test(webhook_id, tenant=caller.tenant, once=once(request)))
    return answer(delivery_json(sent), status=202)


@router.get("/api/v1/webhooks/{webhook_id}/deliveries", **documents.DELIVERIES)
async def list_deliveries(
    request: Request, webhook_id: str, caller: Caller, limit: Limit = 20, after: After = None
) -> Response:
    """List what was or is to be sent to an endpoint, newest first: what waits, and the last 1,000 that ended, for a week."""
    desk = front_of(request.scope).webhooks
    endpoint = await within(desk.endpoints.get(webhook_id, tenant=caller.tenant))
    found, has_more = await within(desk.outbox.page(webhook_id, limit=limit, after=after))
    data = [delivery_json(one, enabled=endpoint.enabled) for one in found]
    return answer({"object": "list", "data": data, "has_more": has_more})


@router.post("/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay", status_code=202, **documents.REPLAY)
async def replay_delivery(request: Request, webhook_id: str, delivery_id: str, caller: Caller) -> Response:
    """Send an event again, at once and under its old id, with the whole schedule before it."""
    desk = front_of(request.scope).webhooks
    return answer(delivery_json(await within(desk.replay(delivery_id, webhook_id, tenant=caller.tenant))), status=202)
