"""Jobs and outcomes as the fields that the scripts write, flat: name, value, name, value."""

from __future__ import annotations

from typing import Any

import orjson

from workers.jobs.models import NewJob, Outcome

Fields = list[str | bytes]


def new_job(job: NewJob) -> Fields:
    """Return the fields of a submitted job that no script looks into."""
    return _present(
        kind=job.kind,
        model=job.model,
        req=job.request,
        cfg=job.config_version,
        rid=job.request_id,
        meta=orjson.dumps(job.metadata) if job.metadata else None,
    )


def outcome(how: Outcome) -> Fields:
    """Return the fields that the end of a job adds."""
    code, message = how.error or (None, None)
    return _present(
        result=how.result,
        error_code=code,
        error_message=message,
        usage=None if how.usage is None else orjson.dumps(how.usage),
        cost=money(how.cost_usd) or None,
        saved=money(how.saved_usd) or None,
        cache=how.cache,
        cfg=how.config_version or None,
        attempts=orjson.dumps(how.attempts) if how.attempts else None,
    )


def money(usd: float | None) -> str:
    """Return an amount as Redis reads it, the empty text when it is unknown."""
    return "" if usd is None else repr(usd)


def _present(**fields: Any) -> Fields:
    return [part for name, value in fields.items() if value is not None for part in (name, value)]
