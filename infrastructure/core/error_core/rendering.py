"""The one place that turns an error into what is told: an HTTP problem's body, or a job's code with its message."""

from __future__ import annotations

from typing import Any

from infrastructure.core.error_core.errors import InternalError, ServiceError

PROBLEM_TYPE = "urn:ai-provider:problem:"
UNAVAILABLE = 503
DEFAULT_RETRY_S = 2.0
INTERNAL_JOB_MESSAGE = "the service failed on this job; its log tells more"
INTERNAL_HTTP_MESSAGE = "the service failed; its log has the place under this request id"


def problem(error: BaseException, *, request_id: str) -> dict[str, Any]:
    """Return the body of an `application/problem+json` answer (RFC 9457); of a defect it says nothing of the inside."""
    known = error if isinstance(error, ServiceError) else InternalError(INTERNAL_HTTP_MESSAGE)
    return {
        "type": PROBLEM_TYPE + known.code,
        "title": known.title,
        "status": known.status,
        "detail": known.message,
        "instance": f"urn:ai-provider:request:{request_id}",
        "code": known.code,
        **known.data,
    }


def retry_after_s(error: BaseException) -> float | None:
    """Return when the caller may come back (seconds), None where that says nothing."""
    if not isinstance(error, ServiceError):
        return None
    if error.retry_after_s is None and error.status == UNAVAILABLE:
        return DEFAULT_RETRY_S
    return error.retry_after_s


def job_error(error: BaseException) -> tuple[str, str]:
    """Return the code and the message that a job ends with; of a defect the message says nothing of the inside."""
    if isinstance(error, ServiceError):
        return error.job_code, error.message
    return InternalError.code, INTERNAL_JOB_MESSAGE
