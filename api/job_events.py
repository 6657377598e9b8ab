"""A job's history told to one reader as it grows, from wherever the reader was before."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson

from api.http import sse
from api.views import job_json
from api.waiting import Waiters
from infrastructure.core.error_core import StoreError
from workers.jobs.models import Happened, Job, What, rfc3339

History = tuple[Job, tuple[Happened, ...]]
RETRY_MS = 1_000, 3_000  # drawn for each stream: all readers of a front door that stops must not come back at once
STORE_AWAY_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvents:
    """What one stream tells: everything behind the event `after`, up to and with the job's end.

    `read` gives the job and its history, None once it is gone, or raises StoreError.
    """

    job_id: str
    read: Callable[[], Awaitable[History | None]]
    waiters: Waiters
    after: int

    async def write(self, writer: sse.Writer) -> None:
        """Tell until the job has ended, or the process stops; while Redis is away, go on trying."""
        await writer.write(sse.retry(random.randint(*RETRY_MS)))  # noqa: S311  no secret
        after = self.after
        with self.waiters.watching(self.job_id) as wake:
            while not self.waiters.closing:
                wake.clear()
                try:
                    found = await writer.meanwhile(self.read())
                except StoreError:
                    await writer.meanwhile(_set_within(wake, STORE_AWAY_S))
                    continue
                if found is None:
                    return
                job, happened = found
                after = starting_point(after, happened)
                if news := [one for one in happened if one.number > after]:
                    await writer.write(*(_event(job, one, last=one is happened[-1]) for one in news))
                    after = news[-1].number
                if job.status.terminal:
                    return
                await writer.meanwhile(wake.wait())


def starting_point(after: int, happened: tuple[Happened, ...]) -> int:
    """Return the number to go on behind: 0 where the reader knows of more than there is.

    Then Redis has lost what the reader was told (`appendfsync everysec`): what happened since goes by used numbers.
    """
    return after if happened and after <= happened[-1].number else 0


def _event(job: Job, one: Happened, *, last: bool) -> bytes:
    told: dict[str, object] = {
        "job_id": job.id,
        "status": one.what.status.value,
        "at": rfc3339(one.at_ms),
        "delivery": one.delivery,
    }
    if one.until_ms is not None:
        told["until"] = rfc3339(one.until_ms)
    if last and one.what is What.PUT_BACK and job.waits is not None and job.waits.reason:
        told["reason"] = job.waits.reason  # of those before it nobody keeps it
    if one.what.status.terminal:
        told["job"] = job_json(job)
    return sse.event(orjson.dumps(told), name=f"job.{one.what.value}", number=one.number)


async def _set_within(wake: asyncio.Event, limit_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await wake.wait()
