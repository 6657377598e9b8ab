"""From a claimed completion to its outcome: unpack, call, put what came of it into one value."""

from __future__ import annotations

import time

from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import ErrorHandler, job_error
from infrastructure.core.logger_core import CoreLogger
from infrastructure.core.performance_core.operations import AI_COMPLETION
from workers.jobs.codec import pack, unpack
from workers.jobs.models import Claimed, Outcome, Status
from workers.providers.litellm_manager import Answer, Call, CompletionFailed, LiteLLMManager


async def complete(
    job: Claimed, *, manager: LiteLLMManager, settings: Settings, log: CoreLogger, errors: ErrorHandler
) -> tuple[Outcome, Answer | None]:
    """Make the call of a job under these settings; every failure that has a name becomes an outcome, and every other one `internal_error`."""
    try:
        answer = await manager.completion(_call(job, settings))
        return _completed(job, answer), answer
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
        cost_usd=answer.cost_usd,
        attempts=(*job.attempts, *answer.attempts),
    )


def _call(job: Claimed, settings: Settings) -> Call:
    request = unpack(job.request)
    return Call(
        model=request["model"],
        params=request["params"],
        deadline=time.monotonic() + job.remaining_ms / 1000,
        job_id=job.id,
        tenant=job.tenant,
        settings=settings,
    )


def _where(job: Claimed) -> dict[str, object]:
    return {"operation": AI_COMPLETION, "job_id": job.id, "tenant": job.tenant, "deliveries": job.deliveries}


def _failed(error: Exception, job: Claimed) -> Outcome:
    failed = error if isinstance(error, CompletionFailed) else None
    return Outcome(
        status=Status.FAILED,
        error=job_error(error),
        cost_usd=failed.cost_usd if failed else None,
        attempts=(*job.attempts, *(failed.attempts if failed else ())),
    )
