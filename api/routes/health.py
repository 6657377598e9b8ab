"""`/health`: whether the process lives, and whether it can serve."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from redis.exceptions import RedisError
from starlette.responses import Response

from api.front import FrontDoor, front_of
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
    front = front_of(request.scope)
    checks = {"redis": await _answers(front), "subscription": front.waiters.listening}
    missing = [name for name, there in checks.items() if not there]
    if missing:
        raise StoreUnavailable(f"not ready, missing: {', '.join(missing)}", missing=missing)
    return answer({"status": "ready", "checks": dict.fromkeys(checks, "ok")})


async def _answers(front: FrontDoor) -> bool:
    try:
        async with asyncio.timeout(PING_S):
            await front.redis.ping()
    except (RedisError, OSError, TimeoutError):
        return False
    return True
