"""Counts what became of jobs: lost, ended twice, answered wrongly, buried though innocent; and whether all keys fit together."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import redis as sync_redis

from tests.chaos.harness.deployment import PREFIX, Deployment
from tests.chaos.rows import Row, exactly
from tests.chaos.table import say
from tests.support.jobs import audit
from tests.support.waiting import wait_for
from workers.jobs.codec import unpack
from workers.providers.sandbox.answers import proof

LIVE = {b"queued", b"in_progress"}
WRITTEN = "each in a job's life"
QUIET_S = 40.0


class Ends:
    """Hears every end that is written (channel `done`), and counts it by job. Ends written while Redis is away are not heard."""

    def __init__(self, there: Deployment) -> None:
        self._there = there
        self.counts: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listens.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(10)

    def twice(self) -> int:
        """Return how many jobs had more than one end written."""
        return sum(count > 1 for count in self.counts.values())

    def _listen(self) -> None:
        while not self._stopping.is_set():
            with suppress(sync_redis.RedisError, OSError), self._there.client() as client:
                pubsub = client.pubsub(ignore_subscribe_messages=True)
                pubsub.subscribe(f"{PREFIX}:done")
                self._listens.set()
                while not self._stopping.is_set():
                    if message := pubsub.get_message(timeout=0.2):
                        self.counts[message["data"].decode()] += 1
            self._stopping.wait(0.05)


def states(client: sync_redis.Redis, ids: Sequence[str], *fields: str) -> list[list[Any]]:
    """Return of each job the values of some fields, its state first; None where there is no such job."""
    found: list[list[Any]] = []
    for start in range(0, len(ids), 500):
        pipe = client.pipeline(transaction=False)
        for job_id in ids[start : start + 500]:
            pipe.hmget(f"{PREFIX}:job:{job_id}", "state", *fields)
        found += pipe.execute()
    return found


def unended(there: Deployment, ids: Sequence[str]) -> int:
    """Return how many jobs have not ended; those that are gone count too."""
    with there.client() as client:
        return sum(state in LIVE or state is None for state, *_ in states(client, ids))


def wait_until_ended(there: Deployment, ids: Sequence[str], *, within_s: float) -> None:
    """Wait until all jobs have ended, as long as within each `within_s` some do; what has not is lost, and the census tells."""
    left = len(ids) + 1
    with suppress(AssertionError):
        while left:
            wait_for(lambda: unended(there, ids) < left, within_s=within_s, every_s=0.25)  # noqa: B023  called here only
            left = unended(there, ids)


def judged(
    there: Deployment, ids: Mapping[str, str], *, ends: Ends | None = None, poison: Sequence[str] = ()
) -> list[Row]:
    """Return the rows that every scenario must show, of its jobs by prompt. `poison`: prompts that are to be dead letters."""
    prompts, names = list(ids), list(ids.values())
    with there.client() as client:
        rows = states(client, names, "result", "error_code")
    lost = [name for name, (state, *_) in zip(names, rows, strict=True) if state is None or state in LIVE]
    ended = [(prompt, state, result, code) for prompt, (state, result, code) in zip(prompts, rows, strict=True)
             if prompt not in poison and state not in LIVE and state is not None]  # fmt: skip
    failed = Counter((code or state).decode() for _, state, _, code in ended if state != b"completed")
    wrong = sum(state == b"completed" and not _answers(result, prompt) for prompt, state, result, _ in ended)
    buried = failed.pop("poisoned", 0)
    for name in lost[:5]:
        say(f"  lost: {name}")
    return [
        exactly(f"jobs lost, of {len(names)}", len(lost), 0),
        exactly("jobs failed otherwise", dict(failed) or 0, 0),
        *([exactly("jobs with two ends", ends.twice(), 0)] if ends is not None else []),
        exactly("answers to another question", wrong, 0),
        exactly("innocent jobs dead-lettered", buried, 0),
        *audited(there),
    ]


def audited(there: Deployment) -> list[Row]:
    """Return what does not fit together among the keys, once nothing moves any more; a dead worker's calls are booked first."""
    found: list[str] = []

    def sound() -> bool:
        with there.client() as client:
            found[:] = audit(client)
        return not found

    with suppress(AssertionError):
        wait_for(sound, within_s=QUIET_S, every_s=0.5, what="an audit without a word")
    for line in found[:10]:
        say(f"  audit: {line}")
    return [exactly("contradictions among the keys, or keys without expiry", len(found), 0)]


def _answers(result: bytes | None, prompt: str) -> bool:
    if result is None:
        return False
    answer: Any = unpack(result)
    return proof(prompt) in answer["choices"][0]["message"]["content"]
