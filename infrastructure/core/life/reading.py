"""What the signs of life say: which processes there are, which of them live, which are ready."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infrastructure.core.life.place import born, exists, signs_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One process as its sign tells. `age_s`: since it last showed that it lives."""

    kind: str
    service_id: str
    pid: int
    url: str
    age_s: float
    hung_s: float
    missing: tuple[str, ...]

    @property
    def lives(self) -> bool:
        """Say whether it showed life lately enough."""
        return self.age_s < self.hung_s

    @property
    def ready(self) -> bool:
        """Say whether it lives and lacks nothing."""
        return self.lives and not self.missing


def signs(kind: str, *, service_id: str | None = None, folder: Path | None = None) -> list[Sign]:
    """Return the signs of the processes of a kind that exist, those of one id or all; what a dead process left is passed over."""
    folder = signs_folder() if folder is None else folder
    found = [sign for path in sorted(folder.glob(f"{kind}-*.json")) for sign in _read(path)]
    return [sign for sign in found if service_id is None or sign.service_id == service_id]


def _read(path: Path) -> Iterator[Sign]:
    try:
        age_s = max(0.0, time.time() - path.stat().st_mtime)
        told: Any = json.loads(path.read_text("utf-8"))
        if told["born"] != born(told["pid"]) or not exists(told["pid"]):
            return
        yield Sign(
            kind=told["kind"],
            service_id=told["id"],
            pid=told["pid"],
            url=told["url"],
            age_s=age_s,
            hung_s=told["hung_s"],
            missing=tuple(told["missing"]),
        )
    except (OSError, ValueError, KeyError, TypeError):  # it went away, or is none of ours
        return
