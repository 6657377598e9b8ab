"""What operators see of the fleet: its queues, its processes, its latest events."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from api.front import front_of, within
from api.http.problems import field_error
from api.keys.auth import operator
from api.keys.keys import Principal
from api.reference import documents
from api.views import answer
from infrastructure.optional.container_core import Bounds
from workers.jobs.load import Load, bounds_of, loads

router = APIRouter()
Operator = Annotated[Principal, Depends(operator)]
Topic = Annotated[str, Query(description="A pattern: `*` is one word, `#` any number of words.", max_length=200)]


@router.get("/api/v1/queues", **documents.QUEUES)
async def queues(request: Request, _: Operator) -> Response:
    """Tell what waits and runs for each kind of worker, and how many workers would do: figures for a scaler."""
    front = front_of(request.scope)
    found = await within(loads(front.store, front.settings))
    data = [_load_json(load, bounds_of(front.settings, load.kind)) for load in found.values()]
    return answer({"object": "list", "data": data})


@router.get("/api/v1/infrastructure/services", **documents.SERVICES)
async def services(request: Request, _: Operator, name: str | None = None, tag: str | None = None) -> Response:
    """List the processes that live, by the directory of services."""
    found = await within(front_of(request.scope).directory.discover(name, tag))
    return answer({"object": "list", "data": [instance.as_json() for instance in found]})


@router.get("/api/v1/events", **documents.EVENTS)
async def events(
    request: Request, _: Operator, topic: Topic = "#", limit: Annotated[int, Query(ge=1, le=100)] = 100
) -> Response:
    """List the latest events that this front door heard, newest first, at most 100."""
    try:
        data = front_of(request.scope).recent.page(topic=topic, limit=limit)
    except ValueError as exc:
        raise field_error("topic", str(exc)) from None
    return answer({"object": "list", "data": data})


def _load_json(load: Load, bounds: Bounds) -> dict[str, Any]:
    return {
        "kind": load.kind,
        "ready": load.figures.ready,
        "oldest_age_s": load.figures.oldest_age_s,
        "running": load.figures.running,
        "delayed": load.delayed,
        "classes": {
            name.value: {"ready": one.count, "oldest_age_s": one.oldest_age_ms / 1000} for name, one in load.classes.items()
        },
        "workers": {
            "now": load.workers, "recommended": load.recommended, "min": bounds.minimum, "max": bounds.maximum,
        },
    }  # fmt: skip
