"""Kills an upkeep process in the middle of a task: after its script ran, before anybody heard of what it did."""

from __future__ import annotations

import os
import signal
from typing import Any

POINTS = ("rescue", "ring")
"""`rescue`: jobs are back in line and not rung for. `ring`: the ringer has decided to ring and has not."""


def arm() -> None:
    """Wrap the task that `CHAOS_POINT` names."""
    point = os.environ["CHAOS_POINT"]
    assert point in POINTS, point
    (_arm_rescue if point == "rescue" else _arm_ring)()


def _arm_rescue() -> None:
    from workers.jobs.store.job_store import JobStore

    original = JobStore.sweep

    async def dying(store: Any) -> Any:
        swept = await original(store)
        if swept.rescued:
            os.kill(os.getpid(), signal.SIGKILL)
        return swept

    JobStore.sweep = dying  # type: ignore[assignment, method-assign]


def _arm_ring() -> None:
    from workers.jobs.bell import Bell

    def dying(_: Any, job_id: str | None = None) -> None:
        if job_id is None:  # the ringer rings for nobody by name
            os.kill(os.getpid(), signal.SIGKILL)

    Bell.ring = dying  # type: ignore[assignment, method-assign]
