"""What may be told of the circumstances of an error: ids and figures, by name; never a text of the caller's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from infrastructure.core.logger_core.secret_shapes import looks_random_for_an_id, looks_secret

Scalar = str | int | float | bool
ALLOWED = frozenset(
    {
        "attempt",
        "attempts",
        "batch_id",
        "config_version",
        "deliveries",
        "duration_ms",
        "file_id",
        "instance",
        "job_id",
        "key_id",
        "kind",
        "method",
        "model",
        "operation",
        "owner",
        "provider",
        "queue",
        "request_id",
        "route",
        "status",
        "tenant",
    }
)
# Ids have no spaces: a sentence cannot pass. What looks like a key of ours or a provider's cannot either.
_ID = re.compile(r"(?!sk-|aip_|Bearer)[A-Za-z0-9._:@/{}+-]{1,128}\Z")


def ids_only(context: Mapping[str, Any] | None) -> dict[str, Scalar]:
    """Return the allowed entries whose values are figures or look like ids; everything else is left out."""
    return {name: value for name, value in (context or {}).items() if name in ALLOWED and _sane(value)}


def _sane(value: Any) -> bool:
    if isinstance(value, str):
        return _ID.match(value) is not None and not looks_secret(value) and not looks_random_for_an_id(value)
    return isinstance(value, (int, float))
