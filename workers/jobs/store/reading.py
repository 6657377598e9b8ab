"""What Redis answers, as the values of `workers.jobs.models`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from infrastructure.core.error_core import IdempotencyGone, IdempotencyMismatch
from workers.jobs import codec
from workers.jobs.models import Attempt, Claimed, Fence, Job, Priority, ReadyClass, Status, Submitted, Waits
from workers.jobs.room import Figures, Reason, Refused, Room

Raw = Sequence[bytes | None]

HEAD_FIELDS = (
    "state", "tenant", "kind", "model", "created", "started", "finished", "deadline", "deliveries", "error_code",
    "error_message", "usage", "cost", "saved", "saved_ms", "cache", "attempts", "meta", "retry_of",
    "waits", "waits_until",
)  # fmt: skip
"""What a list shows of a job."""
FIELDS = (*HEAD_FIELDS, "result")
ENDED_APART = frozenset({Status.CANCELLED, Status.EXPIRED})
"""Ends that the store may write by itself; then without a cost."""


def job(job_id: str, values: Raw) -> Job:
    """Return a job from the values of FIELDS, or of HEAD_FIELDS: then without its result."""
    known = {name: value for name, value in zip(FIELDS, values, strict=False) if value is not None}
    return Job(
        id=job_id,
        tenant=known["tenant"].decode(),
        kind=known["kind"].decode(),
        status=Status(known["state"].decode()),
        model=known["model"].decode(),
        created_ms=int(known["created"]),
        started_ms=_int(known.get("started")),
        finished_ms=_int(known.get("finished")),
        deadline_at_ms=_int(known.get("deadline")),
        deliveries=int(known.get("deliveries", 0)),
        result=codec.unpack(known["result"]) if "result" in known else None,
        error=_error(known),
        usage=_json(known.get("usage")),
        cost_usd=_cost(known),
        saved_usd=_float(known.get("saved")),
        saved_ms=_float(known.get("saved_ms")),
        cache=_text(known.get("cache")),
        attempts=attempts(known.get("attempts")),
        metadata=_json(known.get("meta")) or {},
        retry_of=_text(known.get("retry_of")),
        waits=_waits(known),
    )


def submitted(job_id: bytes, how: str, told: Sequence[Any]) -> Submitted | Refused:
    """Return what `submit.lua` answered.

    Raises:
        IdempotencyMismatch: the key came with another body before.
        IdempotencyGone: its job is not kept any more.
    """
    match how:
        case "created":
            return Submitted(job_id=job_id.decode(), created=True, waiting=told[0])
        case "replayed":
            return Submitted(job_id=job_id.decode(), created=False)
        case "mismatch":
            raise IdempotencyMismatch("expected the body that this Idempotency-Key came with first, got another one")
        case "gone":
            raise gone(job_id.decode())
        case reason:
            return Refused(reason=Reason(reason), figures=Figures.read(told))


def gone(job_id: str) -> IdempotencyGone:
    """Return the error for a repeat whose job has ended and is not kept any more."""
    return IdempotencyGone(
        f"expected the result of job {job_id}, which this Idempotency-Key made, to be kept still; the job has ended and its "
        "result was kept for jobs.result_ttl_s; use a new key to run the request again"
    )


def room(answer: Sequence[Any]) -> Room:
    """Return what `room.lua` answered."""
    known, high, normal, low, *figures = answer
    refusals = {
        Priority.HIGH: _reason(high),
        Priority.NORMAL: _reason(normal),
        Priority.LOW: _reason(low),
    }
    return Room(known=bool(known), refusals=refusals, figures=Figures.read(figures))


def _reason(text: bytes) -> Reason | None:
    return Reason(text.decode()) if text else None


def claimed(answer: Sequence[Any], *, owner: str, nonce: str) -> Claimed:
    """Return a claim from what `claim.lua` answers behind the word `job`."""
    (job_id, tenant, kind, model, request, ready_class, fence, deliveries, deaths, config, tried, remaining_ms, age_ms,
     request_id) = answer  # fmt: skip
    return Claimed(
        fence=Fence(job_id=job_id.decode(), owner=owner, nonce=nonce, value=fence.decode()),
        tenant=tenant.decode(),
        kind=kind.decode(),
        model=model.decode(),
        request=request,
        ready_class=ReadyClass(ready_class.decode()),
        deliveries=int(deliveries),
        deaths=int(deaths or 0),
        remaining_ms=remaining_ms,
        age_ms=age_ms,
        config_version=config.decode(),
        attempts=attempts(tried),
        request_id=_text(request_id),
    )


def attempts(value: bytes | None) -> tuple[Attempt, ...]:
    """Return attempts from their JSON."""
    return tuple(Attempt(**each) for each in orjson.loads(value)) if value else ()


def texts(values: Sequence[bytes]) -> tuple[str, ...]:
    """Return ids as text."""
    return tuple(value.decode() for value in values)


def _cost(known: dict[str, bytes]) -> float | None:
    """Return what a job cost; where it ended without its worker, what its calls cost, if that is known of all."""
    if "cost" in known or Status(known["state"].decode()) not in ENDED_APART:
        return _float(known.get("cost"))
    costs = [each.cost_usd for each in attempts(known.get("attempts"))]
    return sum(cost for cost in costs if cost is not None) if costs and None not in costs else None


def _waits(known: dict[str, bytes]) -> Waits | None:
    if known["state"] != b"queued" or "waits_until" not in known:
        return None
    return Waits(reason=_text(known.get("waits")), until_ms=int(known["waits_until"]))


def _error(known: dict[str, bytes]) -> tuple[str, str] | None:
    if "error_code" not in known:
        return None
    return known["error_code"].decode(), known.get("error_message", b"").decode()


def _json(value: bytes | None) -> Any:
    return None if value is None else orjson.loads(value)


def _int(value: bytes | None) -> int | None:
    return None if value is None else int(value)


def _float(value: bytes | None) -> float | None:
    return None if value is None else float(value)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
