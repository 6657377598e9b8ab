"""What the reference says of each route beyond its parameters: bodies, answers and errors, each with an example."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from api.http.problems import MEDIA_TYPE, TYPE
from api.reference import provider_examples
from api.reference.details import detail_of
from api.reference.provider_schemas import CostTable, ProviderHealthList, ProviderList
from api.reference.schemas import (
    DeadLetterPage,
    EventList,
    FleetMetrics,
    Health,
    JobPage,
    JobView,
    QueueList,
    Ready,
    ServiceList,
)
from infrastructure.core import error_core
from infrastructure.core.error_core import ServiceError

Document = dict[str, Any]

JOB_ID = "job_0192d5f0a1b2c3d4e5f60718293a4b5c"
REQUEST = {
    "model": "default",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": 100,
    "metadata": {"run": "42"},
}
QUEUED: Document = {
    "id": JOB_ID, "object": "job", "status": "queued", "model": "default",
    "created_at": "2026-01-05T12:00:00.000Z", "started_at": None, "finished_at": None,
    "result": None, "error": None, "usage": None, "cost_usd": None, "cost_complete": False, "saved_usd": None,
    "saved_ms": None, "cache": None,
    "attempts": [], "metadata": {"run": "42"}, "retry_of": None, "waits": None,
}  # fmt: skip
_USAGE = {"prompt_tokens": 14, "completion_tokens": 7, "total_tokens": 21}
_MESSAGE = {"role": "assistant", "content": "The capital of France is Paris."}
_ATTEMPT = {"provider": "openai", "model": "gpt-5-mini", "outcome": "ok", "status": 200, "latency_ms": 812.4,
            "cost_usd": 0.0000175, "breaker": None, "score": None}  # fmt: skip
COMPLETED = {
    **QUEUED, "status": "completed",
    "started_at": "2026-01-05T12:00:00.020Z", "finished_at": "2026-01-05T12:00:00.840Z",
    "result": {"id": "chatcmpl-1", "object": "chat.completion", "created": 1767614400, "model": "gpt-5-mini",
               "choices": [{"index": 0, "finish_reason": "stop", "message": _MESSAGE}], "usage": _USAGE},
    "usage": _USAGE, "cost_usd": 0.0000175, "cost_complete": True, "cache": "miss", "attempts": [_ATTEMPT],
}  # fmt: skip
SUMMARY = {name: value for name, value in COMPLETED.items() if name != "result"}
_FAULT = {"field": "tempreature", "pointer": "#/tempreature", "message": "no such field; did you mean temperature?"}
_HEADERS = {
    "Cache-Control": "`no-cache` or `max-age=0`: a new answer, which others may then get; `no-store`: neither read nor keep. "
    "`cache.mode` in the body wins. `only-if-cached` is refused (422): a job is run where the cache has no answer.",
    "Idempotency-Key": "1 to 255 printable characters, bare or as a quoted string: the same key and body make one job. A "
    "repeat is answered with that job and `Idempotency-Replayed: true`, however full the queue is; the same key with another "
    "body is refused (422). A key is kept for 24 hours from the submit and at least as long as the job; a repeat after the "
    "job's result is gone gets 410, not a second job.",
    "Prefer": "`wait=N`: hold the answer until the job ends, N (at most 60) seconds at the longest.",
    "Last-Event-ID": "The id of the last event that was read: only what came after it is told.",
    "X-Request-Id": "Named in the log and in the answer; made up where it is missing.",
}


def problems(*kinds: type[ServiceError]) -> dict[int, Document]:
    """Return the responses that tell these errors, one for each status."""
    responses: dict[int, Document] = {}
    for kind in kinds:
        response = responses.setdefault(kind.status, {"description": kind.title, "content": {MEDIA_TYPE: {
            "schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}}})  # fmt: skip
        response["content"][MEDIA_TYPE]["examples"][kind.code] = {"value": _example(kind)}
    return responses


def _example(kind: type[ServiceError]) -> Document:
    example: Document = {"type": TYPE + kind.code, "title": kind.title, "status": kind.status,
                         "detail": detail_of(kind),
                         "instance": "urn:ai-provider:request:req_5f3c1a9be07d42668f10c2aa", "code": kind.code}  # fmt: skip
    return {**example, "errors": [_FAULT]} if kind is error_core.ValidationFailed else example


def _ok(model: type, description: str, example: Any, **more: Any) -> Document:
    return {
        "model": model,
        "description": description,
        "content": {"application/json": {"example": example}},
        **more,
    }


def _header(name: str) -> Document:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": _HEADERS[name],
        "schema": {"type": "string"},
    }


_TEXT = {"type": "string"}
_LIMITS = {
    "RateLimit-Policy": {
        "description": "The limits of jobs that may wait at one time: `tenant`, the caller's; `service`, that of all.",
        "schema": _TEXT, "example": '"tenant";q=50000;qu="concurrent-requests"',
    },
    "RateLimit": {
        "description": "How many more may come in now (`r`), and in how many seconds where there is none (`t`).",
        "schema": _TEXT, "example": '"tenant";r=49990',
    },
}  # fmt: skip
_RETRY = {"Retry-After": {"description": "Seconds until there is a place.", "schema": {"type": "integer"}}}
_LOCATION = {
    "Location": {"description": "Where to poll the job.", "schema": _TEXT},
    "Idempotency-Replayed": {"description": "`true`: an earlier request under this key made the job.", "schema": _TEXT},
    **_LIMITS,
}
_AUTH = (error_core.MissingKey, error_core.InvalidKey, error_core.Forbidden)
_STORE = (error_core.StoreUnavailable, error_core.StoreFull)
_BODY = (error_core.InvalidJSON, error_core.ModelNotFound, error_core.BodyTooLarge, error_core.UnsupportedMediaType,
         error_core.ValidationFailed, error_core.IdempotencyMismatch, error_core.IdempotencyGone,
         error_core.WebhookBacklog)  # fmt: skip
_ROOM = (error_core.TenantQueueFull, error_core.QueueFull, error_core.QueueTooSlow)


def _submit_problems() -> dict[int, Document]:
    found = problems(*_BODY, *_AUTH, *_ROOM, *_STORE)
    for status in {kind.status for kind in _ROOM}:
        found[status] |= {"headers": {**_RETRY, **_LIMITS}}
    return found


ok, AUTH, STORE = _ok, _AUTH, _STORE
"""What the documents of routes that stand elsewhere are made of, beside `problems`."""

SUBMIT: Document = {
    "tags": ["jobs"],
    "responses": {
        200: _ok(JobView, "The job ended within the wait that was asked for.", COMPLETED, headers=_LOCATION),
        202: _ok(JobView, "The job is written and will reach exactly one end.", QUEUED, headers=_LOCATION),
        **_submit_problems(),
    },
    "openapi_extra": {
        "parameters": [_header(name) for name in _HEADERS if name != "Last-Event-ID"],
        "requestBody": {
            "required": True,
            "content": {"application/json": {
                "schema": {"$ref": "#/components/schemas/CompletionRequest"}, "example": REQUEST}},
        },
    },
}  # fmt: skip
READ: Document = {
    "tags": ["jobs"],
    "responses": {
        200: _ok(JobView, "The job as it is.", COMPLETED),
        202: _ok(JobView, "It was waited for and has not ended.", QUEUED),
        **problems(error_core.JobNotFound, error_core.ValidationFailed, *_AUTH, *_STORE),
    },
}
LIST: Document = {
    "tags": ["jobs"],
    "responses": {
        200: _ok(JobPage, "A page.", {"object": "list", "data": [SUMMARY], "has_more": False, "next": None}),
        **problems(error_core.ValidationFailed, *_AUTH, *_STORE),
    },
}
CANCEL: Document = {
    "tags": ["jobs"],
    "responses": {
        200: _ok(JobView, "The job, ended.", {**QUEUED, "status": "cancelled"}),
        **problems(error_core.JobNotFound, *_AUTH, *_STORE),
    },
}
_DEAD_LETTER = {
    "id": JOB_ID, "object": "dead_letter", "tenant": "default", "model": "default",
    "created_at": "2026-01-05T12:00:00.000Z", "finished_at": "2026-01-05T12:04:10.000Z",
    "error": {"code": "poisoned", "message": "The worker died each time it ran this job, the last time running nothing else"},
    "deliveries": 4, "deaths": 4, "attempts": [], "kept_for_s": 86150.2, "retry_of": None, "retried_as": None,
}  # fmt: skip
DEAD: Document = {
    "tags": ["jobs"],
    "responses": {
        200: _ok(
            DeadLetterPage, "A page.", {"object": "list", "data": [_DEAD_LETTER], "has_more": False, "next": None}
        ),
        **problems(error_core.ValidationFailed, *_AUTH, *_STORE),
    },
}
RETRY: Document = {
    "tags": ["jobs"],
    "responses": {
        202: _ok(
            JobView, "The new job; the same one, with `Idempotency-Replayed: true`, however often it is asked for.",
            {**QUEUED, "id": "job_0192d5f5c3d4e5f60718293a4b5c6d7e", "retry_of": JOB_ID}, headers=_LOCATION,
        ),
        **problems(error_core.JobNotFound, error_core.NotADeadLetter, *_AUTH, *_STORE),
    },
}  # fmt: skip
_EVENT_STREAM = (
    'retry: 2130\n\nid: 1\nevent: job.queued\ndata: {"job_id":"' + JOB_ID + '","status":"queued",'
    '"at":"2026-01-05T12:00:00.000Z","delivery":0}\n\n'
)
JOB_EVENTS: Document = {
    "tags": ["jobs"],
    "response_class": Response,
    "responses": {
        200: {
            "description": "`job.queued`, `job.in_progress`, `job.put_back` (with `until` and, while it waits, `reason`), `job.rescued`, and at the end "
            "`job.completed`, `job.failed`, `job.cancelled` or `job.expired` with the whole `job`. A comment every 15 s.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EVENT_STREAM}},
        },
        204: {"description": "The job has ended, and the reader has its last event: there is nothing to connect for."},
        **problems(error_core.JobNotFound, error_core.ValidationFailed, error_core.NotAcceptable,
                   error_core.TooManyStreams, error_core.StreamsFull, *_AUTH, *_STORE),
    },
    "openapi_extra": {"parameters": [_header("Last-Event-ID")]},
}  # fmt: skip
_METRICS = {
    "logging": {"fleet": {}, "by_instance": {}},
    "configuration": {"fleet": {}, "by_instance": {}},
    "caching": {"fleet": {}, "by_instance": {}},
    "performance": {
        "processes": 3,
        "operations": {"ai_completion": {"count": 1280, "error_rate": 0.01, "average_ms": 850.2, "p50_ms": 790.1,
                                         "p95_ms": 1890.4, "p99_ms": 3120.7, "throughput_per_s": 21.3, "concurrent": 18}},
    },
    "instances": [{"instance": "web@host.4711.5f3c1a9b", "kind": "web", "age_ms": 0.0, "uptime_ms": 86400000.0}],
}  # fmt: skip
HEALTH: Document = {
    "tags": ["operations"],
    "responses": {200: _ok(Health, "Alive.", {"status": "ok", "service": "ai-provider", "version": "0.1.0"})},
}
READY: Document = {
    "tags": ["operations"],
    "responses": {
        200: _ok(Ready, "Ready.", {"status": "ready", "checks": {"redis": "ok", "subscription": "ok"}}),
        **problems(error_core.StoreUnavailable),
    },
}
METRICS: Document = {
    "tags": ["operations"],
    "responses": {
        200: _ok(
            FleetMetrics, "The fleet's figures; durations in milliseconds, null where nothing was measured.", _METRICS
        ),
        **problems(*_AUTH, *_STORE),
    },
}
_QUEUE = {
    "kind": "completions", "ready": 412, "oldest_age_s": 3.2, "running": 180, "delayed": 0,
    "classes": {"high": {"ready": 0, "oldest_age_s": 0.0}, "normal": {"ready": 412, "oldest_age_s": 3.2},
                "low": {"ready": 0, "oldest_age_s": 0.0}},
    "workers": {"now": 1, "recommended": 2, "min": 1, "max": 4},
}  # fmt: skip
_SERVICE = {
    "id": "web@host.4711.5f3c1a9b", "name": "ai-provider", "host": "127.0.0.1", "port": 8005, "health_check": "/health",
    "tags": ["ai", "llm", "web"],
    "metadata": {"kind": "web", "version": "0.1.0", "config": "5f3c1a9be07d", "started": "2026-01-05T12:00:00Z"},
}  # fmt: skip
_EVENT = {
    "id": "evt_5f3c1a9be07d42668f10c2aa5f3c1a9b", "topic": "provider.failover", "source": "completions@host.4712.0c2aa5f3",
    "at": "2026-01-05T12:00:00.000Z",
    "data": {"from_provider": "openai", "to_provider": "anthropic", "reason": "rate_limited", "failover_time_ms": 125.5},
}  # fmt: skip
QUEUES: Document = {
    "tags": ["operations"],
    "responses": {
        200: _ok(QueueList, "One entry for each kind of worker.", {"object": "list", "data": [_QUEUE]}),
        **problems(*_AUTH, *_STORE),
    },
}
SERVICES: Document = {
    "tags": ["operations"],
    "responses": {
        200: _ok(ServiceList, "The processes that live.", {"object": "list", "data": [_SERVICE]}),
        **problems(*_AUTH, *_STORE),
    },
}
EVENTS: Document = {
    "tags": ["operations"],
    "responses": {
        200: _ok(EventList, "The latest events, newest first.", {"object": "list", "data": [_EVENT]}),
        **problems(error_core.ValidationFailed, *_AUTH, *_STORE),
    },
}
PROVIDERS: Document = {
    "tags": ["operations"],
    "responses": {
        200: _ok(ProviderList, "The configured providers.", {"object": "list", "data": [provider_examples.PROVIDER]}),
        **problems(*_AUTH, *_STORE),
    },
}
PROVIDERS_HEALTH: Document = {
    "tags": ["operations"],
    "responses": {
        200: _ok(
            ProviderHealthList, "The last checks of the providers in use.",
            {"object": "list", "fresh": True, "data": [provider_examples.HEALTH]},
        ),
        **problems(*_AUTH, *_STORE),
    },
}  # fmt: skip
COSTS: Document = {
    "tags": ["operations"],
    "responses": {
        200: _ok(CostTable, "What provider calls cost.", provider_examples.COSTS),
        **problems(error_core.ValidationFailed, *_AUTH, *_STORE),
    },
}
BY_ROUTE: dict[tuple[str, str], Document] = {
    ("post", "/api/v1/completion"): SUBMIT,
    ("get", "/api/v1/jobs/{job_id}"): READ,
    ("get", "/api/v1/jobs"): LIST,
    ("post", "/api/v1/jobs/{job_id}/cancel"): CANCEL,
    ("get", "/api/v1/jobs/{job_id}/events"): JOB_EVENTS,
    ("get", "/api/v1/dead"): DEAD,
    ("post", "/api/v1/jobs/{job_id}/retry"): RETRY,
    ("get", "/api/v1/infrastructure/metrics"): METRICS,
    ("get", "/api/v1/queues"): QUEUES,
    ("get", "/api/v1/infrastructure/services"): SERVICES,
    ("get", "/api/v1/events"): EVENTS,
    ("get", "/api/v1/providers"): PROVIDERS,
    ("get", "/api/v1/providers/health"): PROVIDERS_HEALTH,
    ("get", "/api/v1/costs"): COSTS,
    ("get", "/health"): HEALTH,
    ("get", "/health/ready"): READY,
}
