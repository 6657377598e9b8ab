"""The beat schedule: what upkeep does, and how often."""

from __future__ import annotations

from typing import Any

from infrastructure.core.config_core import Settings
from workers import queues

EXPIRE_S = 0.5  # no job is shown as waiting or running for more than a second past its deadline
PROMOTE_S = 1.0
SUSPECT_S = 5.0
WEBHOOKS_S = 0.5  # a job's end is told within a second


def beat_schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the entries. Two beats at once do no harm: each task runs once in its slot of Redis time.

    Rescue believes in a death only after sweeps without a gap of half a lease, so it goes with the heartbeat.
    """
    entries = {
        queues.TASK_RESCUE: settings.jobs.heartbeat_s,
        queues.TASK_RING: settings.jobs.heartbeat_s,
        queues.TASK_EXPIRE: EXPIRE_S,
        queues.TASK_PROMOTE: PROMOTE_S,
        queues.TASK_HEALTH: queues.HEALTH_S,
        queues.TASK_SUSPECT: SUSPECT_S,
        queues.TASK_WEBHOOKS: WEBHOOKS_S,
    }
    return {name: {"task": name, "schedule": every_s, "args": (every_s,)} for name, every_s in entries.items()}
