"""From a claimed completion to its outcome: unpack, call, put what came of it into one value."""

from __future__ import annotations

import time

from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import ErrorHandler, job_error
from infrastructure.core.logger_core import CoreLogger
from infrastructure.core.performance_core.operations import AI_COMPLETION
from workers.jobs.codec import pack, unpack
from workers.jobs.models import Claimed, Outcome, Status
from workers.providers.calls import DEADLINE_EXCEEDED, failed_cost, known_cost
from workers.providers.litellm_manager import Answer, Call, CompletionFailed, JobGone, LiteLLMManager, PutBack

TELLING_S = 0.1
"""So long before its deadline a job's call ends, so that what was tried is written before the store ends the job itself."""


async def complete(
    job: Claimed, *, manager: LiteLLMManager, settings: Settings, log: CoreLogger, errors: ErrorHandler
) -> tuple[Outcome, Answer | None]:
    """Make the call of a job under these settings; every failure that has a name becomes an outcome, and every other one `internal_error`.

    Raises:
        PutBack: the job has not ended: it is to be tried again at a known moment. Its attempts are those of all deliveries.
        JobGone: the job is not ours any more.
    """
    try:
        answer = await manager.completion(_call(job, settings))
        return _completed(job, answer), answer
    except PutBack as put_back:
        put_back.attempts = (*job.attempts, *put_back.attempts)
        raise
    except JobGone:
        raise
    except CompletionFailed as failed:
        errors.handle(failed, _where(job))
        return _failed(failed, job), None
    except Exception as exc:  # noqa: BLE001  a defect of ours ends the job, never the worker
        errors.handle(exc, _where(job))
        log.error("Completion broke", context={"job_id": job.id}, exc=exc)
        return broken(job, exc), None


def broken(job: Claimed, error: Exception) -> Outcome:
    """Return the outcome of a job on which the service itself failed: final, so that it is not paid for again and again."""
    return _failed(error, job)


def _completed(job: Claimed, answer: Answer) -> Outcome:
    return Outcome(
        status=Status.COMPLETED,
        result=pack(answer.result),
        usage=answer.usage,
        cost_usd=_cost(job, answer),
        saved_usd=answer.saved_usd,
        saved_ms=answer.saved_ms,
        cache=answer.cache,
        attempts=(*job.attempts, *answer.attempts),
    )


def _cost(job: Claimed, answer: Answer) -> float | None:
    """Return what is known of the cost of all deliveries: unknown where that of the answer is."""
    if answer.cost_usd is None:
        return None
    return known_cost((answer.cost_usd, *(attempt.cost_usd for attempt in job.attempts)))


def _call(job: Claimed, settings: Settings) -> Call:
    request = unpack(job.request)
    return Call(
        model=request["model"],
        params=request["params"],
        deadline=time.monotonic() + max(0.0, job.remaining_s - TELLING_S),
        job_id=job.id,
        tenant=job.tenant,
        settings=settings,
        cache=request.get("cache") or {},
        job=(job.id, job.fence.value),
        earlier=job.attempts,
        age_s=job.age_ms / 1000,
    )


def _where(job: Claimed) -> dict[str, object]:
    return {"operation": AI_COMPLETION, "job_id": job.id, "tenant": job.tenant, "deliveries": job.deliveries}


def _failed(error: Exception, job: Claimed) -> Outcome:
    tried = error.attempts if isinstance(error, CompletionFailed) else ()
    attempts = (*job.attempts, *tried)
    late = isinstance(error, CompletionFailed) and error.job_code == DEADLINE_EXCEEDED
    return Outcome(
        status=Status.EXPIRED if late else Status.FAILED,
        error=job_error(error),
        cost_usd=failed_cost(attempts) if attempts or isinstance(error, CompletionFailed) else None,
        attempts=attempts,
    )
