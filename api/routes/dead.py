"""Dead letters over HTTP: listed by an operator or their tenant, retried by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from api.front import front_of, within
from api.http.trace import trace_of
from api.keys.auth import principal
from api.keys.keys import Principal
from api.reference import documents
from api.routes.jobs import not_found
from api.views import answer, dead_letter_json, job_json
from infrastructure.core.logger_core import bind_contextvars
from workers.jobs.ids import is_job_id
from workers.jobs.models import Job

router = APIRouter()
Caller = Annotated[Principal, Depends(principal)]
After = Annotated[
    str | None, Query(description="The `next` of the page before.", pattern=r"^[0-9]{1,15}\.job_[0-9a-f]{32}$")
]


@router.get("/api/v1/dead", **documents.DEAD)
async def list_dead(
    request: Request,
    caller: Caller,
    limit: Annotated[int, Query(ge=1, le=100, description="Dead letters on a page.")] = 20,
    after: After = None,
) -> Response:
    """List dead letters, the latest first: a tenant's own, or for an operator everybody's; never what was asked."""
    page = await within(front_of(request.scope).dead.page(_whose(caller), limit=limit, after=after))
    data = [dead_letter_json(letter) for letter in page.letters]
    return answer({"object": "list", "data": data, "has_more": page.has_more, "next": page.next})


@router.post("/api/v1/jobs/{job_id}/retry", status_code=202, **documents.RETRY)
async def retry_job(request: Request, job_id: str, caller: Caller) -> Response:
    """Make a new job of a dead letter, once however often it is asked for; it is run alone, with nothing beside it."""
    front = front_of(request.scope)
    if not is_job_id(job_id):
        raise not_found()
    request_id = trace_of(request.scope).request_id
    retried = await within(front.dead.retry(job_id, tenant=_whose(caller), request_id=request_id))
    if retried is None:
        raise not_found()
    bind_contextvars(job_id=retried.job_id)
    job = await within(front.store.get(retried.job_id, tenant=retried.tenant))
    if job is None:
        raise not_found()
    replayed = {} if retried.created else {"Idempotency-Replayed": "true"}
    place = {"Location": f"/api/v1/jobs/{job.id}"}
    shown = job_json(job if job.tenant == caller.tenant else _outside(job))
    return answer(shown, status=202, headers={**place, **replayed})


def _whose(caller: Principal) -> str | None:
    return None if caller.operator else caller.tenant


def _outside(job: Job) -> Job:
    """Return a job without what is its tenant's alone."""
    error = None if job.error is None else (job.error[0], "kept for the job's tenant")
    return replace(job, result=None, error=error, metadata={})
