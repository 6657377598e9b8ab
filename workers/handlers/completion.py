"""From a claimed completion to its outcome: unpack, call, put what came of it into one value."""

from __future__ import annotations

import time

from infrastructure.core.logger_core import CoreLogger
from workers.jobs.codec import pack, unpack
from workers.jobs.models import Claimed, Outcome, Status
from workers.providers.litellm_manager import Answer, Call, CompletionFailed, LiteLLMManager


async def complete(job: Claimed, *, manager: LiteLLMManager, log: CoreLogger) -> tuple[Outcome, Answer | None]:
    """Make the call of a job; every failure that has a name becomes an outcome, and every other one `internal_error`."""
    try:
        answer = await manager.completion(_call(job))
        return _completed(job, answer), answer
    except CompletionFailed as failed:
        return _failed(failed.job_code, failed.message, failed, job), None
    except Exception as exc:  # noqa: BLE001  a defect of ours ends the job, never the worker
        log.error("Completion broke", context={"job_id": job.id}, exc=exc)
        return broken(job), None


def broken(job: Claimed) -> Outcome:
    """Return the outcome of a job on which the service itself failed: final, so that it is not paid for again and again."""
    return _failed("internal_error", "the service failed on this job; its log tells more", None, job)


def _completed(job: Claimed, answer: Answer) -> Outcome:
    return Outcome(
        status=Status.COMPLETED,
        result=pack(answer.result),
        usage=answer.usage,
        cost_usd=answer.cost_usd,
        attempts=(*job.attempts, *answer.attempts),
    )


def _call(job: Claimed) -> Call:
    request = unpack(job.request)
    return Call(
        model=request["model"],
        params=request["params"],
        deadline=time.monotonic() + job.remaining_ms / 1000,
        job_id=job.id,
        tenant=job.tenant,
    )


def _failed(code: str, message: str, failed: CompletionFailed | None, job: Claimed) -> Outcome:
    return Outcome(
        status=Status.FAILED,
        error=(code, message),
        cost_usd=failed.cost_usd if failed else None,
        attempts=(*job.attempts, *(failed.attempts if failed else ())),
    )
