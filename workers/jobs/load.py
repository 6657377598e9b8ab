"""What each kind of worker has to do: jobs that wait, jobs that run, processes that live; and how many there should be."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from infrastructure.core.config_core import Settings
from infrastructure.core.config_core.scaling import WorkerCount
from infrastructure.optional.container_core import Bounds, Figures, recommended
from workers.jobs.models import COMPLETION_CLASSES, ReadyClass, Waiting
from workers.jobs.store.job_store import JobStore

CLASSES: dict[str, tuple[ReadyClass, ...]] = {
    "completions": COMPLETION_CLASSES,
    "upkeep": (ReadyClass.SUSPECT,),
}
"""Which classes of the ready queue each kind of worker serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load of one kind; `recommended` is for whoever sets the number of processes."""

    kind: str
    classes: dict[ReadyClass, Waiting]
    figures: Figures
    workers: int
    recommended: int
    delayed: int = 0
    """Jobs put back until a known moment: no work for now."""


def bounds_of(settings: Settings, kind: str) -> Bounds:
    """Return the bounds that the configuration sets for a kind of worker."""
    count: WorkerCount = getattr(settings.scaling, kind)
    return Bounds(
        minimum=count.min,
        maximum=count.max if count.max is not None else max(count.min, os.cpu_count() or 1),
        target_age_s=count.target_age_s,
        depth=count.depth,
        grow_after_s=count.grow_after_s,
        shrink_after_s=count.shrink_after_s,
        cooldown_s=count.cooldown_s,
    )


async def loads(store: JobStore, settings: Settings) -> dict[str, Load]:
    """Return the load of every kind of worker in the fleet.

    Raises:
        StoreError: Redis did not answer.
    """
    waiting = await store.waiting([each for classes in CLASSES.values() for each in classes])
    owners, delayed = await store.owners(), await store.delayed()
    found = {kind: _load(kind, waiting, owners, settings) for kind in CLASSES}
    found["completions"] = replace(found["completions"], delayed=delayed)
    return found


def _load(kind: str, waiting: dict[ReadyClass, Waiting], owners: dict[str, int], settings: Settings) -> Load:
    classes = {each: waiting[each] for each in CLASSES[kind]}
    mine = [held for owner, held in owners.items() if owner.startswith(f"{kind}@")]
    figures = Figures(
        ready=sum(each.count for each in classes.values()),
        oldest_age_s=max(each.oldest_age_ms for each in classes.values()) / 1000,
        running=sum(mine),
        slots=settings.worker.concurrency if kind == "completions" else 1,
    )
    wanted = recommended(len(mine), figures, bounds_of(settings, kind))
    return Load(kind=kind, classes=classes, figures=figures, workers=len(mine), recommended=wanted)
