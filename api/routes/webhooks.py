"""`/api/v1/webhooks`: endpoints registered, read, changed, removed and given new secrets by their tenant."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from api.front import front_of, within
from api.http.body import read_json
from api.keys.auth import principal
from api.keys.keys import Principal
from api.reference import webhook_documents as documents
from api.views import answer
from api.webhooks.once import once
from api.webhooks.views import endpoint_json, registered_json
from workers.jobs.webhooks.asked import EndpointChange, EndpointRequest, parse

router = APIRouter()
Caller = Annotated[Principal, Depends(principal)]


@router.post("/api/v1/webhooks", status_code=201, **documents.CREATE)
async def create_webhook(request: Request, caller: Caller) -> Response:
    """Register an endpoint and show its secret: the only time that it is seen."""
    front = front_of(request.scope)
    body = await read_json(request.scope, request.receive, front.settings.limits)
    asked = parse(EndpointRequest, body)
    made = await within(
        front.webhooks.create(asked, tenant=caller.tenant, once=once(request, body), rules=front.settings.webhooks)
    )  # fmt: skip
    replayed = {} if made.created else {"Idempotency-Replayed": "true"}
    place = {"Location": f"/api/v1/webhooks/{made.endpoint.id}"}
    return answer(registered_json(made), status=201, headers={**place, **replayed})


@router.get("/api/v1/webhooks", **documents.LIST)
async def list_webhooks(request: Request, caller: Caller) -> Response:
    """List the tenant's endpoints, newest first, without their secrets."""
    found = await within(front_of(request.scope).webhooks.endpoints.list(caller.tenant))
    return answer({"object": "list", "data": [endpoint_json(one) for one in found], "has_more": False})


@router.get("/api/v1/webhooks/{webhook_id}", **documents.READ)
async def read_webhook(request: Request, webhook_id: str, caller: Caller) -> Response:
    """Read an endpoint."""
    desk = front_of(request.scope).webhooks
    return answer(endpoint_json(await within(desk.endpoints.get(webhook_id, tenant=caller.tenant))))


@router.patch("/api/v1/webhooks/{webhook_id}", **documents.CHANGE)
async def change_webhook(request: Request, webhook_id: str, caller: Caller) -> Response:
    """Change an endpoint; `enabled: true` also sends what waited while it was disabled."""
    front = front_of(request.scope)
    body = await read_json(request.scope, request.receive, front.settings.limits)
    asked = parse(EndpointChange, body)
    rules = front.settings.webhooks
    changed = await within(front.webhooks.change(webhook_id, asked, tenant=caller.tenant, rules=rules))
    return answer(endpoint_json(changed))


@router.delete("/api/v1/webhooks/{webhook_id}", **documents.DELETE)
async def delete_webhook(request: Request, webhook_id: str, caller: Caller) -> Response:
    """Remove an endpoint; what waits for it is not sent."""
    await within(front_of(request.scope).webhooks.endpoints.remove(webhook_id, tenant=caller.tenant))
    return answer({"id": webhook_id, "object": "webhook", "deleted": True})


@router.post("/api/v1/webhooks/{webhook_id}/rotate", **documents.ROTATE)
async def rotate_webhook(request: Request, webhook_id: str, caller: Caller) -> Response:
    """Give an endpoint a new secret and show it; for a day, by default, the old one signs beside it."""
    front = front_of(request.scope)
    rotated = await within(
        front.webhooks.rotate(webhook_id, tenant=caller.tenant, once=once(request), rules=front.settings.webhooks)
    )  # fmt: skip
    return answer(registered_json(rotated))
