"""Settings that a process takes at its start and keeps: what was built from them cannot be exchanged under way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from infrastructure.core.config_core.settings import Settings

FIXED = frozenset({
    "environment",
    "service",  # the address that is listened on, the secret of the keys
    "logging.output_dir",
    "redis",
    "scaling",  # `up` starts with it
    "jobs.result_ttl_s", "jobs.heartbeat_s", "jobs.lease_s", "jobs.max_deaths",  # the store and the lease hold them
    "worker.concurrency", "worker.drain_s", "worker.liveness_file", "worker.soft_limit_s", "worker.hard_limit_s",
    "cache.redis_url", "cache.dir", "cache.l1_entries", "cache.l1_bytes",
    "database",
    "sandbox.url", "sandbox.port",
    "flower",
})  # fmt: skip
"""Keys, and whole sections, that take effect at the next start of a process; every other takes effect at a reload."""


def is_fixed(key: str) -> bool:
    """Say whether a dotted key takes effect at the next start only."""
    return key in FIXED or key.partition(".")[0] in FIXED


def keeping(running: Settings, candidate: Settings) -> tuple[Settings, tuple[str, ...]]:
    """Return the candidate with the fixed settings of the running ones, and the keys in which it wanted them changed."""
    update: dict[str, Any] = {}
    for name in {key.partition(".")[0] for key in FIXED}:
        old, new = getattr(running, name), getattr(candidate, name)
        if name in FIXED or not isinstance(new, BaseModel):
            update[name] = old
        else:
            fields = {key.partition(".")[2] for key in FIXED if key.startswith(f"{name}.")}
            update[name] = new.model_copy(update={field: getattr(old, field) for field in fields})
    kept = candidate.model_copy(update=update)
    return kept, tuple(key for key in changed_keys(kept, candidate) if key != "version")


def changed_keys(old: Any, new: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys in which two settings differ; a table is compared entry by entry."""
    if isinstance(old, BaseModel) and isinstance(new, BaseModel):
        for name in type(new).model_fields:
            yield from changed_keys(getattr(old, name), getattr(new, name), f"{prefix}{name}.")
    elif isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from changed_keys(old.get(name), new.get(name), f"{prefix}{name}.")
    elif old != new:
        yield prefix.rstrip(".")
