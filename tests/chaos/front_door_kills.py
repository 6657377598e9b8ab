"""Kill -9 of the front door at twelve named points of a submit; every caller sends again under its Idempotency-Key."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from tests.chaos.harness.census import Ends, judged, wait_until_ended
from tests.chaos.harness.deployment import FAST, MODEL, PREFIX, Deployment
from tests.chaos.harness.failpoints import POINTS
from tests.chaos.rows import Row, exactly, scaled
from tests.support.waiting import wait_for
from workers.jobs import keys

TIMES = 20
BESIDE_THE_ANSWER = {"during_publish"}
"""The bell has a thread of its own: the 202 may be out when the process dies there."""
FAILPOINTS = "tests.chaos.harness.failpoints"


@dataclass
class Asked:
    """One caller's submit: its key, where the front door died, what the caller heard, the jobs there were then."""

    prompt: str
    point: str
    heard: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    jobs_then: int = -1

    @property
    def key(self) -> str:
        """Return its Idempotency-Key."""
        return self.prompt.replace(" ", "-")


def run(scale: float) -> Sequence[Row]:
    """Kill it 20 times at each point."""
    return kill_front_doors(times=scaled(TIMES, scale), points=list(POINTS))


def kill_front_doors(*, times: int, points: Sequence[str]) -> list[Row]:
    """Kill it so many times at each of these points."""
    run_id = secrets.token_hex(4)
    all_asked = [
        Asked(f"question at {point} {number} of {run_id}", point) for number in range(times) for point in points
    ]
    with Deployment(variables=FAST) as there, Ends(there) as ends:
        there.start(workers=1)
        for asked in all_asked:
            there.web.kill()
            _die_once(there, asked)
        there.start_web()
        for asked in all_asked:
            _submit(there, asked)
        ids = {asked.prompt: asked.ids[-1] for asked in all_asked}
        wait_until_ended(there, list(ids.values()), within_s=60)
        in_the_end = [jobs_of(there, asked) for asked in all_asked]
        return [
            *(_row(point, [asked for asked in all_asked if asked.point == point]) for point in points),
            exactly("most jobs a key", max(in_the_end), 1),
            exactly("least jobs a key", min(in_the_end), 1),
            exactly("keys that two answers gave two jobs", sum(len(set(asked.ids)) > 1 for asked in all_asked), 0),
            *judged(there, ids, ends=ends),
        ]


def _die_once(there: Deployment, asked: Asked) -> None:
    armed = there.folder / "armed"
    web = there.start_web(before=FAILPOINTS, CHAOS_POINT=asked.point, CHAOS_ARMED=str(armed))
    armed.touch()
    _submit(there, asked)
    wait_for(lambda: not web.lives, what=f"the front door dies at {asked.point}: {web.said()[-500:]}")
    armed.unlink()
    asked.jobs_then = jobs_of(there, asked)


def _submit(there: Deployment, asked: Asked) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": asked.prompt}]}
    try:
        answer = httpx.post(
            f"{there.url}/api/v1/completion", json=body, headers={"Idempotency-Key": asked.key}, timeout=20
        )
        asked.heard.append(str(answer.status_code))
        if answer.status_code == httpx.codes.ACCEPTED:
            asked.ids.append(answer.json()["id"])
    except httpx.HTTPError as exc:
        asked.heard.append(type(exc).__name__)


def jobs_of(there: Deployment, asked: Asked) -> int:
    """Return how many jobs a key has, by a look at all jobs of the store."""
    digest = keys.idempotency_digest(hashlib.sha256(asked.key.encode()).hexdigest()).encode()
    with there.client() as client:
        pipe = client.pipeline(transaction=False)
        for name in client.scan_iter(f"{PREFIX}:job:*", count=1_000):
            pipe.hget(name, "idem")
        return sum(idem == digest for idem in pipe.execute())


def _row(point: str, some: Sequence[Asked]) -> Row:
    """Return what a caller heard at a point, and how many jobs there were: none before the script, one after it."""
    first = Counter(asked.heard[0] for asked in some)
    jobs = Counter(asked.jobs_then for asked in some)
    answered = first["202"] == (len(some) if point == "after_202" else 0)
    fine = set(jobs) == {POINTS[point]} and (answered or point in BESIDE_THE_ANSWER)
    told = ", ".join(f"{count} x {name}" for name, count in first.items())
    return Row(f"killed at {point}: jobs a key then ({told})", str(dict(jobs)), str({POINTS[point]: len(some)}), fine)
