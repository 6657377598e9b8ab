"""How a request uses the cache: what its mode means for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infrastructure.core.config_core import Settings

MAX_TTL_S = 604_800.0
"""A week: the most that the cache keeps anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What may be done for a request. `ttl_s`: seconds that its answer is kept."""

    reads: bool
    """An answer from the cache will do."""
    keeps: bool
    """Its answer goes into the cache."""
    joins: bool
    """It may share the call of an equal request that is under way."""
    ttl_s: float


def plan(settings: Settings, asked: Mapping[str, Any] | None, params: Mapping[str, Any]) -> Plan:
    """Return how a request uses the cache.

    `asked` is what the request itself says: `mode` and `ttl` (seconds), each None or left out for what the configuration
    says (`cache.mode`, `cache.ttl`). Modes: `use`; `refresh`: a new answer, kept for others; `off`; `auto`: `use` where
    the caller cannot mean to get another sample, that is with `temperature` 0 or a `seed`.

    Several choices (`n`) are samples: they are neither kept nor shared.
    """
    said = asked or {}
    mode = said.get("mode") or settings.cache.mode
    ttl_s = min(float(said.get("ttl") or settings.cache.ttl), MAX_TTL_S)
    if mode == "auto":
        mode = "use" if _repeatable(params) else "off"
    may = settings.cache.enabled and (params.get("n") or 1) == 1
    use = may and mode == "use"
    return Plan(reads=use, keeps=use or (may and mode == "refresh"), joins=use, ttl_s=ttl_s)


def _repeatable(params: Mapping[str, Any]) -> bool:
    return params.get("temperature") == 0 or params.get("seed") is not None
