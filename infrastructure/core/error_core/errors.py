"""The error tree: what can go wrong, under a stable code, with its HTTP status and whether trying again helps.

    ServiceError
    ├── RequestError                     the caller's fault; nothing was written
    │   ├── InvalidJSON                  400 invalid_json
    │   ├── ValidationFailed             422 validation_failed
    │   ├── ModelNotFound                404 model_not_found
    │   ├── BodyTooLarge                 413 body_too_large
    │   ├── UnsupportedMediaType         415 unsupported_media_type
    │   ├── MissingKey                   401 missing_api_key
    │   ├── InvalidKey                   401 invalid_api_key
    │   ├── Forbidden                    403 forbidden
    │   ├── NotFound                     404 not_found
    │   ├── JobNotFound                  404 job_not_found
    │   ├── MethodNotAllowed             405 method_not_allowed
    │   ├── NotAcceptable                406 not_acceptable
    │   ├── NotADeadLetter               409 not_a_dead_letter
    │   ├── TooManyStreams               429 too_many_streams
    │   ├── IdempotencyMismatch          422 idempotency_key_reused
    │   ├── IdempotencyGone              410 idempotency_result_gone
    │   ├── WebhookNotFound              404 webhook_not_found
    │   ├── DeliveryNotFound             404 delivery_not_found
    │   ├── WebhookDisabled              409 webhook_disabled
    │   ├── WebhookLimit                 409 webhook_limit
    │   ├── WebhookBacklog               429 webhook_backlog
    │   └── IdempotencyRunning           409 idempotency_in_progress
    ├── QueueRefusal                     no room in line; nothing was written
    │   ├── TenantQueueFull              429 tenant_queue_full
    │   ├── QueueFull                    503 queue_full
    │   └── QueueTooSlow                 503 queue_too_slow
    ├── StoreError                       Redis
    │   ├── StoreUnavailable             503 store_unavailable
    │   └── StoreFull                    503 store_full
    ├── StreamsFull                      503 streams_full
    ├── ConfigError                      500 invalid_configuration (exit status 78)
    ├── ProviderError                    a call to a provider that gave no answer; see ProviderError
    └── InternalError                    500 internal_error

Errors name a fact: "expected <thing> to be <rule>, got <value>". They carry no prompt, answer or secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ServiceError(Exception):
    """Any failure that the service knows by name.

    `code` and `status` are stable: clients may switch on them. `retryable` says whether the same call can succeed later
    without a change. `retry_after_s` is when (seconds), where it is known. `data` are extra members for the caller.
    `job_code` is what a job ends with; a failure of a provider says more there than its class.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after_s: float | None = None, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.job_code: str = self.code
        self.retry_after_s = retry_after_s
        self.data = data


class InternalError(ServiceError):
    """A defect of ours; the message says nothing of the inside."""


class RequestError(ServiceError):
    """The caller's request cannot be served as it is; nothing was written."""

    code = "invalid_request"
    status = 400
    title = "Invalid request"


class InvalidJSON(RequestError):
    """The body is not one JSON document (syntax, NaN, depth, encoding)."""

    code = "invalid_json"
    title = "The body is not valid JSON"


class ValidationFailed(RequestError):
    """The body is JSON but breaks a rule; `data["errors"]` lists `{field, message}`."""

    code = "validation_failed"
    status = 422
    title = "The request breaks a rule"


class ModelNotFound(RequestError):
    """No configured candidate answers to this model name."""

    code = "model_not_found"
    status = 404
    title = "Unknown model"


class BodyTooLarge(RequestError):
    """The body is longer than `limits.body_bytes`."""

    code = "body_too_large"
    status = 413
    title = "The body is too large"


class UnsupportedMediaType(RequestError):
    """The Content-Type is not `application/json`."""

    code = "unsupported_media_type"
    status = 415
    title = "Unsupported content type"


class MissingKey(RequestError):
    """No `Authorization: Bearer` header where one is needed."""

    code = "missing_api_key"
    status = 401
    title = "An API key is needed"


class InvalidKey(RequestError):
    """The API key is unknown, malformed or revoked."""

    code = "invalid_api_key"
    status = 401
    title = "The API key is not valid"


class Forbidden(RequestError):
    """The key is valid but not for this."""

    code = "forbidden"
    status = 403
    title = "Not allowed"


class NotFound(RequestError):
    """There is nothing at this path."""

    code = "not_found"
    status = 404
    title = "Not found"


class JobNotFound(NotFound):
    """No such job among the tenant's own (another tenant's job looks the same)."""

    code = "job_not_found"
    title = "No such job"


class MethodNotAllowed(RequestError):
    """The path exists, the method on it does not."""

    code = "method_not_allowed"
    status = 405
    title = "Method not allowed"


class IdempotencyMismatch(RequestError):
    """The Idempotency-Key was used before with another body."""

    code = "idempotency_key_reused"
    status = 422
    title = "The idempotency key belongs to another request"


class NotAcceptable(RequestError):
    """The caller accepts nothing that is served here."""

    code = "not_acceptable"
    status = 406
    title = "Nothing acceptable is served here"


class NotADeadLetter(RequestError):
    """Only a dead letter can be retried: another job's request is gone with its end."""

    code = "not_a_dead_letter"
    status = 409
    title = "The job is not a dead letter"


class TooManyStreams(RequestError):
    """The tenant has as many event streams open as it may."""

    code = "too_many_streams"
    status = 429
    title = "Too many event streams"
    retryable = True


class StreamsFull(ServiceError):
    """This process has as many event streams open as it can."""

    code = "streams_full"
    status = 503
    title = "No room for another event stream"
    retryable = True


class IdempotencyGone(RequestError):
    """What the Idempotency-Key made has ended and is not kept any more; a new key runs the request again."""

    code = "idempotency_result_gone"
    status = 410
    title = "The idempotency key's result is gone"


class IdempotencyRunning(RequestError):
    """The first request under the Idempotency-Key is still being served."""

    code = "idempotency_in_progress"
    status = 409
    title = "The first request under this idempotency key still runs"
    retryable = True


class QueueRefusal(ServiceError):
    """There is no room in line; `headers` are what the answer says of the limit, beside Retry-After."""

    code = "queue_full"
    status = 503
    title = "The queue is full"
    retryable = True

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, headers: Mapping[str, str] | None = None, **data: Any
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, **data)
        self.headers = dict(headers or {})


class TenantQueueFull(QueueRefusal):
    """As many jobs of the tenant wait as may."""

    code = "tenant_queue_full"
    status = 429
    title = "Too many of your jobs wait"


class QueueFull(QueueRefusal):
    """As many jobs of all tenants wait as may."""


class QueueTooSlow(QueueRefusal):
    """A job would wait for longer than it may."""

    code = "queue_too_slow"
    title = "The queue is too slow"


class WebhookNotFound(NotFound):
    """No such endpoint among the tenant's own."""

    code = "webhook_not_found"
    title = "No such webhook endpoint"


class DeliveryNotFound(NotFound):
    """No such delivery of this endpoint."""

    code = "delivery_not_found"
    title = "No such delivery"


class WebhookDisabled(RequestError):
    """The endpoint is disabled: nothing is sent to it."""

    code = "webhook_disabled"
    status = 409
    title = "The webhook endpoint is disabled"


class WebhookLimit(RequestError):
    """The tenant has as many endpoints as it may have."""

    code = "webhook_limit"
    status = 409
    title = "Too many webhook endpoints"


class WebhookBacklog(RequestError):
    """Too many deliveries wait for the endpoint that a job names."""

    code = "webhook_backlog"
    status = 429
    title = "The webhook endpoint does not take its deliveries"
    retryable = True


class StoreError(ServiceError):
    """Redis did not do what was asked."""

    code = "store_unavailable"
    status = 503
    title = "The job store is not available"
    retryable = True


class StoreUnavailable(StoreError):
    """Redis cannot be reached, or did not answer in time."""


class StoreFull(StoreError):
    """Redis refuses writes: its memory limit is reached."""

    code = "store_full"
    title = "The job store is full"


class ConfigError(ServiceError):
    """The configuration cannot take effect; `problems` lists every fault found, one sentence each."""

    code = "invalid_configuration"
    title = "Invalid configuration"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class ProviderError(ServiceError):
    """A provider call that gave no usable answer. Its subclasses live with the classifier, in `workers/providers`.

    `message` is the provider's text, redacted of secrets: kept in the job for its owner only, never logged.
    """

    code = "provider_error"
    status = 502
    title = "The provider gave no usable answer"
    retryable = True
