"""`GET /api/v1/infrastructure/metrics`: what the fleet measures of itself, for operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from api.front import front_of, within
from api.keys.auth import operator
from api.keys.keys import Principal
from api.reference import documents
from api.views import answer

router = APIRouter()


@router.get("/api/v1/infrastructure/metrics", **documents.METRICS)
async def infrastructure_metrics(request: Request, _: Annotated[Principal, Depends(operator)]) -> Response:
    """Tell logging, configuration, caching and performance of all processes together, and of each one."""
    return answer(await within(front_of(request.scope).observation.get_metrics()))
