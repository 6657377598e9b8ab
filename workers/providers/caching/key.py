"""What makes two requests equal: the canonical form of a request, of which the cache key is the SHA-256.

docs/cache-key.md describes the form; `tests/unit/cache_keys.json` holds requests with their bytes and digests. A change of
the form is a new VERSION: entries of another one are never looked at.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

VERSION = "1"
NOT_IN_KEY = frozenset({
    "cache", "deadline_s", "idempotency_key", "metadata", "model", "priority", "request_id", "stream", "stream_options",
    "timeout", "webhook",
})  # fmt: skip
"""What says how a request is served, not what is answered. Everything else is part of the key, known or not."""

# Where a JSON Schema stands: providers write their answer in its order, so the order of its members is kept.
_SCHEMA_UNDER = {"function": "parameters", "functions": "parameters", "json_schema": "schema"}
_MOST = 2.0**63
"""A float without a fraction is written as its integer where that fits 64 bits."""


@dataclass(frozen=True, slots=True)
class CacheKey:
    """The name of a request's answer: version of the canonical form, tenant, SHA-256 in hex."""

    version: str
    tenant: str
    digest: str

    def __str__(self) -> str:
        """Return the end of a key's name in Redis; a tenant's name has no colon."""
        return f"{self.version}:{self.tenant}:{self.digest}"


def cache_key(*, tenant: str, model: str, candidates: Sequence[tuple[str, str]], params: Mapping[str, Any]) -> CacheKey:
    """Return the name of a request's answer.

    Args:
        tenant: whose request it is; answers never cross tenants.
        model: the model's name as it was asked for.
        candidates: provider and model of everyone who may answer, in the order of the configuration, before any is
            left out for a reason of the moment.
        params: the request's fields as a provider gets them.

    Raises:
        ValueError: a number is infinite or none.
    """
    form = canonical(tenant=tenant, model=model, candidates=candidates, params=params)
    return CacheKey(VERSION, tenant, hashlib.sha256(form).hexdigest())


def canonical(*, tenant: str, model: str, candidates: Sequence[tuple[str, str]], params: Mapping[str, Any]) -> bytes:
    """Return a request's canonical form."""
    return _dump({
        "candidates": [list(candidate) for candidate in candidates],
        "model": model,
        "params": _params(params),
        "tenant": tenant,
        "version": VERSION,
    })  # fmt: skip


def _params(params: Mapping[str, Any]) -> dict[str, Any]:
    form: dict[str, Any] = {
        name: _value(value, name) for name, value in params.items() if value is not None and name not in NOT_IN_KEY
    }
    if isinstance(form.get("stop"), str):
        form["stop"] = [form["stop"]]
    if form.get("n") == 1:
        del form["n"]
    return form


def _value(value: Any, name: str) -> Any:
    """Return a value in its canonical form; `name` is that of the member that it is, or is in."""
    if isinstance(value, Mapping):
        schema = _SCHEMA_UNDER.get(name)
        return {
            member: _dump(inner, ordered=True).decode() if member == schema else _value(inner, member)
            for member, inner in value.items()
            if inner is not None
        }
    if isinstance(value, (list, tuple)):
        return [_value(one, name) for one in value]
    return _number(value) if isinstance(value, float) else value


def _number(value: float) -> float | int:
    if not math.isfinite(value):
        raise ValueError(f"expected numbers of a request to be finite, got {value}")
    return int(value) if value.is_integer() and abs(value) < _MOST else value


def _dump(value: Any, *, ordered: bool = False) -> bytes:
    return orjson.dumps(value, option=None if ordered else orjson.OPT_SORT_KEYS)
