"""Jobs and outcomes as the fields that the scripts write, flat: name, value, name, value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from workers.jobs.models import Attempt, NewJob, Outcome

Fields = list[str | bytes]
MOST_ATTEMPTS = 100


def new_job(job: NewJob) -> Fields:
    """Return the fields of a submitted job that no script looks into."""
    return _present(
        kind=job.kind,
        model=job.model,
        req=job.request,
        cfg=job.config_version,
        rid=job.request_id,
        webhook=job.webhook,
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
        saved_ms=None if how.saved_ms is None else repr(how.saved_ms),
        cache=how.cache,
        cfg=how.config_version or None,
        attempts=attempts(how.attempts) or None,
    )


def attempts(tried: Sequence[Attempt]) -> bytes:
    """Return attempts as JSON, the empty text when there are none.

    Of more than MOST_ATTEMPTS those that cost something are kept, and the latest: a job may wait a day for its provider.
    """
    if len(tried) > MOST_ATTEMPTS:
        tried = [*(each for each in tried[:-MOST_ATTEMPTS] if each.cost_usd), *tried[-MOST_ATTEMPTS:]]
    return orjson.dumps(tried) if tried else b""


def money(usd: float | None) -> str:
    """Return an amount as Redis reads it, the empty text when it is unknown."""
    return "" if usd is None else repr(usd)


def _present(**fields: Any) -> Fields:
    return [part for name, value in fields.items() if value is not None for part in (name, value)]
