"""Submits sent from outside at a steady rate, whatever is answered, and what became of those that were accepted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.support.steady import questions

ACCEPTED, UNAVAILABLE = 202, 503
ENDED = frozenset({"completed", "failed", "cancelled", "expired"})
LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """One submit: when it was sent (monotonic seconds), how long its answer took, and what it was; status 0: none."""

    sent_s: float
    took_s: float
    status: int
    job_id: str | None = None
    code: str | None = None
    retry_after: str | None = None
    media_type: str = ""

    @property
    def is_proper(self) -> bool:
        """Say whether it is a 202 with a job, or a 503 that says when to come again."""
        if self.status == UNAVAILABLE:
            return self.media_type == "application/problem+json" and bool(self.retry_after) and bool(self.code)
        return self.status == ACCEPTED and bool(self.job_id)


@dataclass
class Hail:
    """What was answered, in the order of sending; `marks` are instants (monotonic seconds) at which something was done."""

    answers: list[Answer]
    marks: dict[str, float]
    fates: Counter[str] = field(default_factory=Counter)

    @property
    def accepted(self) -> list[str]:
        """Return the ids of the accepted jobs."""
        return [one.job_id for one in self.answers if one.status == ACCEPTED and one.job_id]

    @property
    def statuses(self) -> dict[int, int]:
        """Return how often each status was answered."""
        return dict(Counter(one.status for one in self.answers))

    def between(self, start: str, end: str | None = None) -> list[Answer]:
        """Return the answers to submits that were sent between two marks."""
        until = self.marks[end] if end else float("inf")
        return [one for one in self.answers if self.marks[start] <= one.sent_s < until]

    def out_for_s(self, mark: str) -> float:
        """Return the seconds from a mark until a submit is accepted that was sent after the last refusal."""
        later = self.between(mark)
        refused = [one.sent_s for one in later if one.status != ACCEPTED]
        back = [one.sent_s for one in later if one.status == ACCEPTED and one.sent_s > max(refused, default=0)]
        return min(back) - self.marks[mark] if back else float("inf")


async def hail(
    url: str, *, rate: float, until: Callable[[Hail], Coroutine[Any, Any, None]], ended_within_s: float = 60
) -> Hail:
    """Submit `rate` jobs a second while `until` runs, then wait for the ends of the accepted ones."""
    found = Hail([], {})
    body = questions("default")
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=20)
    ) as session:
        doing = asyncio.create_task(until(found))
        sent: list[asyncio.Task[Answer]] = []
        began = time.monotonic()
        while not doing.done():
            sent.append(asyncio.create_task(_send(session, url, body(len(sent)))))
            await asyncio.wait([doing], timeout=max(0, began + len(sent) / rate - time.monotonic()))
        await doing
        found.answers = list(await asyncio.gather(*sent))
        found.fates = await _fates(session, url, found.accepted, within_s=ended_within_s)
    return found


async def _send(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> Answer:
    sent_s = time.monotonic()
    try:
        async with session.post(f"{url}/api/v1/completion", json=body) as answer:
            told = await answer.json(content_type=None)
            return Answer(sent_s, time.monotonic() - sent_s, answer.status, told.get("id"), told.get("code"),
                          answer.headers.get("Retry-After"), answer.content_type)  # fmt: skip
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return Answer(sent_s, time.monotonic() - sent_s, 0)


async def _fates(session: aiohttp.ClientSession, url: str, ids: list[str], *, within_s: float) -> Counter[str]:
    """Return how many jobs ended how: their status, `lost` for those that are not known any more."""
    deadline = time.monotonic() + within_s
    fates: dict[str, str] = {}
    waiting = list(ids)
    while waiting and time.monotonic() < deadline:
        for job_id in waiting:
            async with session.get(f"{url}/api/v1/jobs/{job_id}") as answer:
                if answer.status < 500:
                    fates[job_id] = "lost" if answer.status == 404 else (await answer.json())["status"]
        waiting = [job_id for job_id in waiting if fates.get(job_id) not in {*ENDED, "lost"}]
        await asyncio.sleep(LOOK_EVERY_S if waiting else 0)
    return Counter(fates.get(job_id, "unknown") for job_id in ids)
