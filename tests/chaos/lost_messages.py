"""Every Celery message deleted from the broker, again and again: the ringer rings for what is ready."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from tests.chaos.harness.census import Ends, judged, wait_until_ended
from tests.chaos.harness.deployment import FAST, PREFIX, Deployment
from tests.chaos.harness.stream import Stream
from tests.chaos.rows import Row, at_least, scaled
from tests.support.waiting import wait_for

TIMES, JOBS, WORKERS = 10, 50, 2  # a worker may have been given a message before it was stopped
QUEUES = (f"{PREFIX}:mq:completions", f"{PREFIX}:mq:upkeep")


def run(scale: float) -> Sequence[Row]:
    """Delete them 10 times."""
    return lose_messages(times=scaled(TIMES, scale), jobs=JOBS)


def lose_messages(*, times: int, jobs: int) -> list[Row]:
    """Delete all messages so many times, each time those of `jobs` jobs that nobody could hear yet."""
    ids: dict[str, str] = {}
    deleted = 0
    with Deployment(variables=FAST) as there, Ends(there) as ends:
        there.start(workers=WORKERS)
        for _ in range(times):
            deleted += _lose(there, jobs, ids)
            wait_until_ended(there, list(ids.values()), within_s=60)
        return [at_least("messages deleted", deleted, times * (jobs - WORKERS)), *judged(there, ids, ends=ends)]


def _lose(there: Deployment, jobs: int, ids: dict[str, str]) -> int:
    """Submit while all who would hear are stopped, delete what was said, and let them go on; return how many messages."""
    everybody = (*there.workers, there.upkeep, there.beat)
    for one in everybody:
        one.send(signal.SIGSTOP)
    try:
        stream = Stream(there.url, jobs)
        stream.wait(within_s=60)
        ids.update(stream.ids)
        with there.client() as client:
            wait_for(lambda: client.llen(QUEUES[0]) >= jobs - WORKERS, within_s=30, what="a message for each job")
            found = sum(int(client.llen(name)) for name in QUEUES)
            client.delete(*QUEUES)
        return found
    finally:
        for one in everybody:
            one.send(signal.SIGCONT)
