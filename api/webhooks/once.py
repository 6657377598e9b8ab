"""Which request of webhooks is the repeat of which: the one place that reads their Idempotency-Key."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from api.http.headers import idempotency
from api.webhooks.desk import Idempotency


def once(request: Request, body: Any = None) -> Idempotency:
    """Return the digests of the key and of the body, None where there is no key.

    Raises:
        ValidationFailed: the key breaks a rule.
    """
    return idempotency(request.scope["headers"], body)
