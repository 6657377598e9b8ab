"""What errors say, as examples of the reference: sentences that the service really answers with."""

from __future__ import annotations

from infrastructure.core.error_core import ServiceError

_DETAILS = {
    "invalid_json": "expected the body to be one JSON document",
    "validation_failed": "tempreature breaks a rule; each is listed in errors",
    "model_not_found": "no model answers to 'defualt'; did you mean default? There are: default, large, gpt-*, openai/…",
    "body_too_large": "expected at most 4194304 bytes",
    "unsupported_media_type": "expected Content-Type application/json, got text/plain",
    "missing_api_key": "expected an API key: Authorization: Bearer …",
    "invalid_api_key": "expected an API key that is known and not revoked",
    "forbidden": "expected an operator's key",
    "job_not_found": "there is no such job among yours; ids are job_ and 32 hex digits, and ended jobs expire",
    "method_not_allowed": "expected POST, got GET",
    "idempotency_key_reused": "expected the body that this Idempotency-Key came with first, got another one",
    "tenant_queue_full": "expected at most 50000 waiting jobs of this tenant",
    "queue_full": "expected at most 200000 waiting jobs",
    "queue_too_slow": "the job would wait longer than half of its deadline",
    "store_unavailable": "the job store does not answer",
    "store_full": "the job store has no room for more jobs",
}


def detail_of(kind: type[ServiceError]) -> str:
    """Return what an error of this kind says; where no example is kept, what it means."""
    return _DETAILS.get(kind.code) or " ".join((kind.__doc__ or kind.title).split("\n\n", 1)[0].split()).rstrip(".")
