"""Jobs as the API shows them."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from workers.jobs.models import Attempt, DeadLetter, Job, Waits, rfc3339


def job_json(job: Job, *, brief: bool = False) -> dict[str, Any]:
    """Return a job's JSON; `brief` leaves out the result, as in lists."""
    shown = {
        "id": job.id,
        "object": "job",
        "status": job.status.value,
        "model": job.model,
        "created_at": rfc3339(job.created_ms),
        "started_at": rfc3339(job.started_ms),
        "finished_at": rfc3339(job.finished_ms),
        "result": job.result,
        "error": None if job.error is None else {"code": job.error[0], "message": job.error[1]},
        "usage": job.usage,
        "cost_usd": job.cost_usd,
        "cost_complete": job.cost_complete,
        "saved_usd": job.saved_usd,
        "saved_ms": job.saved_ms,
        "cache": job.cache,
        "attempts": [_attempt(attempt) for attempt in job.attempts],
        "metadata": job.metadata,
        "retry_of": job.retry_of,
        "waits": waits_json(job.waits),
    }
    if brief:
        del shown["result"]
    return shown


def waits_json(waits: Waits | None) -> dict[str, Any] | None:
    """Return what a job waits for, None for one that does not."""
    if waits is None:
        return None
    return {"for": "provider", "reason": waits.reason, "until": rfc3339(waits.until_ms)}


def dead_letter_json(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter's JSON: what an operator needs, and nothing that its tenant wrote."""
    job = letter.job
    return {
        "id": job.id,
        "object": "dead_letter",
        "tenant": job.tenant,
        "model": job.model,
        "created_at": rfc3339(job.created_ms),
        "finished_at": rfc3339(job.finished_ms),
        "error": None if job.error is None else {"code": job.error[0], "message": job.error[1]},
        "deliveries": job.deliveries,
        "deaths": letter.deaths,
        "attempts": [_attempt(attempt) for attempt in job.attempts],
        "kept_for_s": letter.left_ms / 1000,
        "retry_of": job.retry_of,
        "retried_as": letter.retried_as,
    }


def answer(content: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON answer that no cache keeps."""
    return Response(
        orjson.dumps(content), status, {"Cache-Control": "no-store", **(headers or {})}, media_type="application/json"
    )


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "provider": attempt.provider,
        "model": attempt.model,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "latency_ms": attempt.latency_ms,
        "cost_usd": attempt.cost_usd,
        "breaker": attempt.breaker,
        "score": attempt.score,
    }
