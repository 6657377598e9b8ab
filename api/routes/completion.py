"""`POST /api/v1/completion`: a body becomes a job."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from api.admission import accepted_headers
from api.front import FrontDoor, front_of, within
from api.http.body import parse, read_bytes
from api.http.headers import asked_wait, body_digest, cache_mode, idempotency_key, preference_applied
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
from workers.jobs.models import Job, NewJob, Priority, Submitted
from workers.jobs.request.business import check_business
from workers.jobs.request.completion import parse_request
from workers.jobs.room import Limits, Refused, limits_of
from workers.jobs.store.reading import gone

router = APIRouter()
Wait = Annotated[str | None, Query(description="As `Prefer: wait=N`; of both the smaller one holds.")]


@router.post("/api/v1/completion", status_code=202, **documents.SUBMIT)
async def submit(request: Request, caller: Annotated[Principal, Depends(principal)], wait: Wait = None) -> Response:
    """Write a job and answer 202 with its address, or 200 with the ended job where `Prefer: wait=N` was enough."""
    front = front_of(request.scope)
    headers = request.scope["headers"]
    wait_s = asked_wait(headers, wait, limit_s=front.settings.limits.wait_s)
    asked = Asked(caller, limits_of(front.settings, of_tenant=caller.queued), idempotency_key(headers))
    body = await _body(request, front, asked)
    new = _new_job(request, body, asked, front)
    if new.webhook:
        await within(front.webhooks.check_usable(new.webhook, tenant=caller.tenant, rules=front.settings.webhooks))
    submitted = await _admit(front, asked, new)
    job = await _look(request, front, submitted.job_id, caller.tenant, wait_s)
    if job is None:  # it ended, and was not kept for long
        raise gone(submitted.job_id) if asked.key else JobNotFound(f"job {submitted.job_id} has expired")
    replayed = {} if submitted.created else {"Idempotency-Replayed": "true"}
    applied = preference_applied(headers, wait_s)
    told = {"Location": f"/api/v1/jobs/{job.id}", **replayed, **applied}
    ended = wait_s is not None and job.status.terminal
    left = accepted_headers(asked.limits, submitted.waiting)
    return answer(job_json(job), status=200 if ended else 202, headers=told | left)


@dataclass(frozen=True, slots=True)
class Asked:
    """Who submits, against which limits, under which idempotency key; and since when (monotonic seconds)."""

    caller: Principal
    limits: Limits
    key: str | None
    began: float = field(default_factory=time.monotonic)


async def _body(request: Request, front: FrontDoor, asked: Asked) -> Any:
    """Return the body; while the queue is full, whoever cannot get in is refused before it is parsed, or even read.

    Raises:
        QueueRefusal: it cannot get in.
    """
    tenant, limits = asked.caller.tenant, front.settings.limits
    room = None
    if front.admission.crowd.is_tight(tenant):
        room = await front.admission.look(front.store, tenant, limits=asked.limits, idempotency_key=asked.key)
        front.admission.check(room, None, tenant=tenant, limits=asked.limits, began=asked.began)
    body = await read_bytes(request.scope, request.receive, limits)
    if room is not None:
        front.admission.check(room, body, tenant=tenant, limits=asked.limits, began=asked.began)
    return parse(body, limits.depth)


async def _admit(front: FrontDoor, asked: Asked, new: NewJob) -> Submitted:
    """Write the job and ring for it.

    Raises:
        QueueRefusal: there is no room for it.
    """
    began = time.monotonic()
    with front.observation.tracker.track_operation(SUBMIT):
        done = await within(front.store.admit(new, limits=asked.limits))
    if isinstance(done, Refused):
        raise front.admission.error(done, tenant=new.tenant, limits=asked.limits, began=began)
    bind_contextvars(job_id=done.job_id)
    if done.created:
        front.bell.ring(new.id)
    return done


def _new_job(request: Request, body: Any, asked: Asked, front: FrontDoor) -> NewJob:
    headers = request.scope["headers"]
    completion = parse_request(body, front.settings)
    check_business(completion, front.settings)  # what nobody can serve is told now, not by a failed job
    return NewJob(
        id=new_job_id(),
        tenant=asked.caller.tenant,
        kind="completion",
        model=completion.model,
        request=pack(completion.call(cache_mode=cache_mode(headers))),
        priority=Priority(completion.priority or "normal"),
        deadline_ms=int(1_000 * (completion.deadline_s or front.settings.jobs.deadline_s)),
        metadata=completion.metadata or {},
        config_version=front.settings.version,
        idempotency=None if asked.key is None else (asked.key, body_digest(body)),
        request_id=trace_of(request.scope).request_id,
        webhook=completion.webhook,
    )


async def _look(request: Request, front: FrontDoor, job_id: str, tenant: str, wait_s: int | None) -> Job | None:
    def read() -> Any:
        return within(front.store.get(job_id, tenant=tenant))

    if wait_s:
        return await while_connected(request.receive, front.waiters.until_done(job_id, read, timeout_s=wait_s))
    found: Job | None = await read()
    return found
