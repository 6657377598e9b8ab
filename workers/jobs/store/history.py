"""A job's history as its hash keeps it, in the letters of `scripts/include/common.lua`."""

from __future__ import annotations

import re

from workers.jobs.models import Happened, Job, What

LETTERS = {
    "q": What.QUEUED, "p": What.IN_PROGRESS, "a": What.PUT_BACK, "l": What.RESCUED,
    "c": What.COMPLETED, "f": What.FAILED, "x": What.CANCELLED, "e": What.EXPIRED,
}  # fmt: skip
_ENTRY = re.compile(r"(\d+)([a-z])(\d+)\.(\d+)(?:\.(\d+))?;")


def happened(value: bytes | None) -> tuple[Happened, ...]:
    """Return what happened to a job, in order; nothing for a job that was written before there were histories."""
    if not value:
        return ()
    return tuple(
        Happened(
            number=int(number),
            what=LETTERS[letter],
            at_ms=int(at),
            delivery=int(delivery),
            until_ms=int(until) if until else None,
        )
        for number, letter, at, delivery, until in _ENTRY.findall(value.decode("ascii"))
        if letter in LETTERS
    )


def whole(job: Job, told: tuple[Happened, ...]) -> tuple[Happened, ...]:
    """Return a job's history with its end, which is missing where an older version wrote it."""
    if not job.status.terminal or (told and told[-1].what.status.terminal):
        return told
    number = told[-1].number + 1 if told else 1
    end = Happened(
        number=number, what=What(job.status.value), at_ms=job.finished_ms or job.created_ms, delivery=job.deliveries
    )
    return (*told, end)
