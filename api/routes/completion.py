"""`POST /api/v1/completion`: a body becomes a job."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from api.front import FrontDoor, front_of, within
from api.http.body import read_json
from api.http.headers import cache_mode, idempotency, preferred_wait
from api.http.trace import trace_of
from api.keys.auth import principal
from api.keys.keys import Principal
from api.reference import documents
from api.views import answer, job_json
from api.waiting import while_connected
from infrastructure.core.error_core import JobNotFound
from infrastructure.core.logger_core import bind_contextvars
from infrastructure.core.performance_core.operations import SUBMIT
from workers.jobs.codec import pack
from workers.jobs.ids import new_job_id
from workers.jobs.models import Job, NewJob, Priority
from workers.jobs.request.business import check_business
from workers.jobs.request.completion import parse_request

router = APIRouter()


@router.post("/api/v1/completion", status_code=202, **documents.SUBMIT)
async def submit(request: Request, caller: Annotated[Principal, Depends(principal)]) -> Response:
    """Write a job and answer 202 with its address, or 200 with the ended job where `Prefer: wait=N` was enough."""
    front = front_of(request.scope)
    headers = request.scope["headers"]
    wait_s = preferred_wait(headers, limit_s=front.settings.limits.wait_s)
    body = await read_json(request.scope, request.receive, front.settings.limits)
    new = _new_job(request, body, caller.tenant, front)
    if new.webhook:
        await within(front.webhooks.check_usable(new.webhook, tenant=caller.tenant, rules=front.settings.webhooks))
    with front.observation.tracker.track_operation(SUBMIT):
        submitted = await within(front.store.submit(new))
    bind_contextvars(job_id=submitted.job_id)
    if submitted.created:
        front.bell.ring(new.id)
    job = await _look(request, front, submitted.job_id, caller.tenant, wait_s)
    replayed = {} if submitted.created else {"Idempotency-Replayed": "true"}
    applied = {} if wait_s is None else {"Preference-Applied": f"wait={wait_s}"}
    ended = wait_s is not None and job.status.terminal
    place = {"Location": f"/api/v1/jobs/{job.id}"}
    return answer(job_json(job), status=200 if ended else 202, headers={**place, **replayed, **applied})


def _new_job(request: Request, body: Any, tenant: str, front: FrontDoor) -> NewJob:
    headers = request.scope["headers"]
    once = idempotency(headers, body)
    asked = parse_request(body, front.settings)
    check_business(asked, front.settings)  # what nobody can serve is told now, not by a failed job
    return NewJob(
        id=new_job_id(),
        tenant=tenant,
        kind="completion",
        model=asked.model,
        request=pack(asked.call(cache_mode=cache_mode(headers))),
        priority=Priority(asked.priority or "normal"),
        deadline_ms=int(1_000 * (asked.deadline_s or front.settings.jobs.deadline_s)),
        metadata=asked.metadata or {},
        config_version=front.settings.version,
        idempotency=once,
        request_id=trace_of(request.scope).request_id,
        webhook=asked.webhook,
    )


async def _look(request: Request, front: FrontDoor, job_id: str, tenant: str, wait_s: int | None) -> Job:
    def read() -> Any:
        return within(front.store.get(job_id, tenant=tenant))

    if wait_s:
        job = await while_connected(request.receive, front.waiters.until_done(job_id, read, timeout_s=wait_s))
    else:
        job = await read()
    if job is None:
        raise JobNotFound(f"job {job_id} has expired")
    return job
