"""How many workers of each kind there are: read by `ai-provider up`, and by the figures for an outside scaler."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from infrastructure.core.config_core.section import Seconds, Section, crossed


class WorkerCount(Section):
    """The bounds for one kind of worker, and when it grows and shrinks."""

    min: int = Field(1, ge=1, le=256)
    max: int | None = Field(None, ge=1, le=256)
    """Most processes; empty: one for each core."""
    target_age_s: Seconds = 2
    """Longest that a job is meant to wait."""
    depth: int = Field(200, ge=1, le=1_000_000)
    """Waiting jobs that one worker is trusted with."""
    grow_after_s: Seconds = 3
    """For how long more workers must have been needed."""
    shrink_after_s: Seconds = 60
    """For how long fewer workers must have been enough."""
    cooldown_s: Seconds = 15
    """From one change to the next; a new worker needs some seconds until it helps."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max is not None and self.max < self.min:
            raise crossed("max", f"expected max to be at least min, got {self.max} below {self.min}", other="min")
        return self


class UpkeepCount(WorkerCount):
    """The same for upkeep, of which one is enough."""

    max: int | None = Field(1, ge=1, le=256)
    """Most processes; empty: one for each core."""


class Scaling(Section):
    """One section for each kind of worker."""

    completions: WorkerCount = WorkerCount()
    upkeep: UpkeepCount = UpkeepCount()
