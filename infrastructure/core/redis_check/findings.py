"""What a check found: one fact each, under an id that does not change, with what is at stake and how to mend it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How a check ended. `skipped`: it could not be judged, or does not apply; the finding says why."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    SKIPPED = "skipped"


class Role(StrEnum):
    """What a Redis is used for; one server may have several roles, each judged by its own measure."""

    JOBS = "jobs"
    BROKER = "broker"
    CACHE = "cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. `found` is what is so; `stake` what may happen; `mend` what to do; both empty where all is well."""

    id: str
    status: Status
    found: str
    stake: str = ""
    mend: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)
