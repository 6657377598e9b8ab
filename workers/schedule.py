"""The beat schedule: what upkeep does, and how often."""

from __future__ import annotations

from typing import Any

from workers import queues

RESCUE_S = 5.0
RING_S = 5.0
EXPIRE_S = 2.0
SUSPECT_S = 5.0


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Return the entries. Two beats at once do no harm: each task runs once in its slot of Redis time."""
    entries = {
        queues.TASK_RESCUE: RESCUE_S,
        queues.TASK_RING: RING_S,
        queues.TASK_EXPIRE: EXPIRE_S,
        queues.TASK_SUSPECT: SUSPECT_S,
    }
    return {name: {"task": name, "schedule": every_s, "args": (every_s,)} for name, every_s in entries.items()}
