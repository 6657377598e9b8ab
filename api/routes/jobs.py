"""`/api/v1/jobs`: jobs read, listed and cancelled by their tenant."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from api.front import front_of, within
from api.http.headers import asked_wait, preference_applied
from api.keys.auth import principal
from api.keys.keys import Principal
from api.reference import documents
from api.views import answer, job_json
from api.waiting import while_connected
from infrastructure.core.error_core import JobNotFound
from workers.jobs.ids import is_job_id
from workers.jobs.models import Status

router = APIRouter()
Caller = Annotated[Principal, Depends(principal)]
Wait = Annotated[
    str | None, Query(description="Seconds to wait for the job's end, 0 to 60; of this and `Prefer` the smaller.")
]
After = Annotated[str | None, Query(description="The last id of the page before.", pattern=r"^job_[0-9a-f]{32}$")]


@router.get("/api/v1/jobs/{job_id}", **documents.READ)
async def read_job(request: Request, job_id: str, caller: Caller, wait: Wait = None) -> Response:
    """Read a job; with `wait=N`, or `Prefer: wait=N`, the answer comes when it ends, after N seconds at the latest."""
    front, headers = front_of(request.scope), request.scope["headers"]
    wait_s = asked_wait(headers, wait, limit_s=front.settings.limits.wait_s)
    _check_id(job_id)

    def read() -> Any:
        return within(front.store.get(job_id, tenant=caller.tenant))

    if wait_s:
        job = await while_connected(request.receive, front.waiters.until_done(job_id, read, timeout_s=wait_s))
    else:
        job = await read()
    if job is None:
        raise not_found()
    status = 202 if wait_s and not job.status.terminal else 200
    return answer(job_json(job), status=status, headers=preference_applied(headers, wait_s))


@router.get("/api/v1/jobs", **documents.LIST)
async def list_jobs(
    request: Request,
    caller: Caller,
    status: Annotated[Status | None, Query(description="Only jobs in this state.")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Jobs on a page.")] = 20,
    after: After = None,
) -> Response:
    """List the tenant's jobs, newest first, without their results."""
    store = front_of(request.scope).store
    page = await within(store.page(caller.tenant, status=status, limit=limit, after=after))
    data = [job_json(job, brief=True) for job in page.jobs]
    return answer({"object": "list", "data": data, "has_more": page.has_more, "next": page.next})


@router.post("/api/v1/jobs/{job_id}/cancel", **documents.CANCEL)
async def cancel_job(request: Request, job_id: str, caller: Caller) -> Response:
    """Cancel a job and stop its call; a job that has ended comes back as it is."""
    _check_id(job_id)
    job = await within(front_of(request.scope).store.cancel(job_id, tenant=caller.tenant))
    if job is None:
        raise not_found()
    return answer(job_json(job))


def _check_id(job_id: str) -> None:
    if not is_job_id(job_id):
        raise not_found()


def not_found() -> JobNotFound:
    """Return the answer for another tenant's job too: it looks the same."""
    return JobNotFound("there is no such job among yours; ids are job_ and 32 hex digits, and ended jobs expire")
