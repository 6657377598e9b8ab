"""`/health`: whether the process lives, and whether it can serve."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.front import front_of
from api.reference import documents
from api.views import answer
from infrastructure.core.error_core import StoreUnavailable

router = APIRouter()
PING_S = 2.0


@router.get("/health", **documents.HEALTH)
async def health(request: Request) -> Response:
    """Say that the process lives, whatever else is missing."""
    service = front_of(request.scope).settings.service
    return answer({"status": "ok", "service": service.name, "version": service.version})


@router.get("/health/ready", **documents.READY)
async def ready(request: Request) -> Response:
    """Say whether jobs can be taken and waited for."""
    pings = front_of(request.scope).parts.get_pings()
    asked = await asyncio.gather(*(ping.ping(deadline_s=PING_S) for ping in pings))
    missing = [one.name for one in asked if not one.ok]
    if missing:
        raise StoreUnavailable(f"not ready, missing: {', '.join(missing)}", missing=missing)
    return answer({"status": "ready", "checks": {one.name: "ok" for one in asked}})
