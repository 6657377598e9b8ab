"""What keeps the queue honest: rescue of a dead worker's jobs, the ringer, deadlines, and jobs put back that are due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from infrastructure.core.logger_core import CoreLogger
from infrastructure.core.redis_core import store_errors
from infrastructure.optional.event_core import Publisher
from workers.jobs import topics
from workers.jobs.models import COMPLETION_CLASSES, Swept
from workers.jobs.store.job_store import JobStore

RING_AT_MOST = 1_000
SWEEPS_AT_MOST = 20
PROMOTED_AT_MOST, PROMOTED_IN_ONE_GO = 1_000, 100
"""Of a run, and of a script: a hundred jobs keep Redis from others for about 5 ms."""
EXPIRED_AT_MOST, EXPIRED_IN_ONE_GO = 10_000, 100
"""The same for jobs past their deadline: after an overload there are many, and new ones must still be answered at once."""


async def rescue(
    store: JobStore, *, ring: Callable[[str | None], None], log: CoreLogger, events: Publisher | None = None
) -> dict[str, int]:
    """Give the jobs of workers whose lease ran out back to the queue, ring for each, and tell by an event."""
    rescued, poisoned, lost = 0, 0, 0
    for _ in range(SWEEPS_AT_MOST):
        swept = await store.sweep()
        for job_id in swept.rescued:
            ring(job_id)
        for job_id in swept.poisoned:
            log.error("Job is a dead letter: it killed each worker that ran it", context={"job_id": job_id})
            if events is not None:
                events.publish(topics.JOB_DEAD, {"job_id": job_id})
        rescued, poisoned = rescued + len(swept.rescued), poisoned + len(swept.poisoned)
        lost += swept.lost
        if not _more(swept):
            break
    if rescued or poisoned:
        log.warning("Jobs of a dead worker were rescued", context={"rescued": rescued, "poisoned": poisoned})
        if events is not None:
            events.publish(topics.JOBS_RESCUED, {"rescued": rescued, "poisoned": poisoned})
    if lost:
        log.warning("Calls of a dead worker were booked as lost", context={"lost": lost})
    return {"rescued": rescued, "poisoned": poisoned, "lost": lost}


def _more(swept: Swept) -> bool:
    return bool(swept.rescued or swept.poisoned or swept.lost)


@dataclass(frozen=True, slots=True)
class Ringer:
    """Rings again for jobs whose message was lost.

    The sign of a lost message is a ready job while the broker's list is empty, seen twice, a heartbeat apart: once may be the
    moment between a job's write and its ring. `marker` is the key that remembers the first look, for `remember_ms`.
    """

    redis: Redis
    broker: Redis
    broker_list: str
    marker: str
    remember_ms: int

    async def look(self, store: JobStore, *, ring: Callable[[str | None], None], log: CoreLogger) -> dict[str, int]:
        """Look once; ring when this is the second look that finds the sign."""
        ready = await store.ready_count(COMPLETION_CLASSES)
        with store_errors():
            unheard = ready > 0 and await self.broker.llen(self.broker_list) == 0
            if not unheard:
                await self.redis.delete(self.marker)
                return {"rung": 0}
            if await self.redis.set(self.marker, 1, nx=True, px=self.remember_ms):
                return {"rung": 0}
            await self.redis.delete(self.marker)
        count = min(ready, RING_AT_MOST)
        for _ in range(count):
            ring(None)
        log.warning("Ready jobs had no message, rung again", context={"ready": ready, "rung": count})
        return {"rung": count}


async def promote(store: JobStore, *, ring: Callable[[str | None], None]) -> dict[str, int]:
    """Put jobs back in line whose wait is over, and ring for each."""
    promoted = 0
    while promoted < PROMOTED_AT_MOST:
        due = await store.promote(limit=PROMOTED_IN_ONE_GO)
        for job_id in due:
            ring(job_id)
        promoted += len(due)
        if len(due) < PROMOTED_IN_ONE_GO:
            break
    return {"promoted": promoted}


async def expire(store: JobStore, *, log: CoreLogger) -> dict[str, int]:
    """Write the end of jobs whose deadline passed."""
    expired = 0
    while expired < EXPIRED_AT_MOST:
        ended = await store.expire_due(limit=EXPIRED_IN_ONE_GO)
        expired += len(ended)
        if len(ended) < EXPIRED_IN_ONE_GO:
            break
    if expired:
        log.info("Jobs passed their deadline", context={"expired": expired})
    return {"expired": expired}
