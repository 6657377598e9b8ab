"""Dead letters: jobs that killed every worker that ran them, listed and retried by hand.

Only a dead letter keeps its request after its end, for as long as the job itself is kept; so only a dead letter can be
retried. The retry is a new job, since an end never changes, and begins as a suspect: it is run alone until it has ended.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from infrastructure.core.error_core import NotADeadLetter
from infrastructure.core.redis_core import store_errors
from workers.jobs import ids
from workers.jobs.models import DeadLetter, DeadPage, Retried
from workers.jobs.store import lua, reading
from workers.jobs.store.headroom import Headroom

FIELDS = (*reading.HEAD_FIELDS, "deaths", "retried")
SCRIPTS = ("dead_page", "retry")


class DeadLetters:
    """The dead letters of one prefix on one Redis. The arguments are the job store's."""

    def __init__(self, redis: Redis, *, prefix: str = "aip", result_ttl_s: float = 86_400) -> None:
        self._prefix = prefix
        self._ttl_ms = round(result_ttl_s * 1000)
        self._headroom = Headroom(redis)
        self._scripts = {name: redis.register_script(lua.source(name)) for name in SCRIPTS}

    async def page(self, tenant: str | None, *, limit: int, after: str | None = None) -> DeadPage:
        """Return up to `limit` dead letters, the latest first, from behind the `next` of the page before; None: everybody's.

        Raises:
            StoreUnavailable, StoreFull.
        """
        instant_ms, _, job_id = (after or "0.").partition(".")
        more, found = await self._run("dead_page", tenant or "", limit, job_id, instant_ms, *FIELDS)
        letters = tuple(map(_letter, found))
        place = f"{letters[-1].job.finished_ms}.{letters[-1].job.id}" if letters and more else None
        return DeadPage(letters=letters, has_more=place is not None, next=place)

    async def retry(self, job_id: str, *, tenant: str | None, request_id: str | None = None) -> Retried | None:
        """Make a new job of a dead letter, or return the one that was made of it before.

        None when there is no such job of this tenant's; with tenant None it may be anyone's.

        Raises:
            NotADeadLetter: the job is another one.
            StoreFull: Redis is at its memory limit or near it; nothing was written.
            StoreUnavailable.
        """
        with store_errors():
            await self._headroom.check()
        new_id, how, owner = await self._run("retry", job_id, tenant or "", ids.new_job_id(), request_id or "")
        if how == b"refused":
            raise NotADeadLetter(
                "expected a dead letter (failed, code poisoned), got another job; its request is not kept"
            )
        if how == b"none":
            return None
        return Retried(job_id=new_id.decode(), tenant=owner.decode(), created=how == b"created")

    async def _run(self, name: str, *args: str | int) -> Any:
        with store_errors():
            return await self._scripts[name](args=(self._prefix, self._ttl_ms, *args))


def _letter(answer: list[Any]) -> DeadLetter:
    job_id, left_ms, *values = answer
    *head, deaths, retried = values
    return DeadLetter(
        job=reading.job(job_id.decode(), head),
        deaths=int(deaths or 0),
        left_ms=left_ms,
        retried_as=None if retried is None else retried.decode(),
    )
