"""`GET /api/v1/jobs/{id}/events`: what happens to a job, as server-sent events that a reader can resume."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from api.front import front_of, within
from api.http.headers import accepts, last_event_id
from api.http.sse import HEADERS, MEDIA_TYPE, EventStream
from api.job_events import History, JobEvents, starting_point
from api.keys.auth import principal
from api.keys.keys import Principal
from api.reference import documents
from api.routes.jobs import not_found
from infrastructure.core.error_core import NotAcceptable
from workers.jobs.ids import is_job_id

router = APIRouter()
PATH = "/api/v1/jobs/{job_id}/events"
Caller = Annotated[Principal, Depends(principal)]


@router.head(PATH, include_in_schema=False)
@router.get(PATH, **documents.JOB_EVENTS)
async def job_events(request: Request, job_id: str, caller: Caller) -> Response:
    """Tell what happened to a job and what happens, up to its end; after `Last-Event-ID` only what came later."""
    front, headers = front_of(request.scope), request.scope["headers"]
    if not accepts(headers, MEDIA_TYPE):
        raise NotAcceptable(f"expected Accept to allow {MEDIA_TYPE}")
    after = last_event_id(headers)

    async def read() -> History | None:
        return await within(front.store.history(job_id, tenant=caller.tenant))

    found = await read() if is_job_id(job_id) else None
    if found is None:
        raise not_found()
    job, happened = found
    if job.status.terminal and happened and starting_point(after, happened) == happened[-1].number:
        return Response(status_code=204, headers=HEADERS)  # a browser stops connecting again at this, and only at this
    told = JobEvents(job_id=job_id, read=read, waiters=front.waiters, after=after)
    limits = front.settings.limits
    return EventStream(told.write, place=front.streams.taken(caller.tenant, limits), longest_s=limits.stream_s)
