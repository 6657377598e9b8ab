"""Redis frozen for a minute, five times for ten seconds, and full: no job runs twice, callers are told, work goes on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import httpx

from tests.chaos.harness.census import Ends, judged, wait_until_ended
from tests.chaos.harness.deployment import FAST, MODEL, PREFIX, Deployment
from tests.chaos.harness.stream import Stream
from tests.chaos.rows import Row, at_most, exactly, scaled
from tests.support.waiting import wait_for

LONG_S, SHORT_S, SHORT_TIMES = 60, 10, 5
JOBS, RATE, REFUSED = 60, 10.0, 50
CLEAR_ANSWER_S, ROOM_AGAIN_S = 5.0, 5.0


def run(scale: float) -> Sequence[Row]:
    """Freeze it for 60 s, for 10 s five times, and fill it."""
    long_s, short_s = scaled(LONG_S, scale, least=4), scaled(SHORT_S, scale, least=2)
    return [
        *stalls(times=1, stall_s=long_s, variables={}),
        *stalls(times=scaled(SHORT_TIMES, scale), stall_s=short_s, variables={}),
        *full(refused=scaled(REFUSED, scale, least=5)),
    ]


def stalls(*, times: int, stall_s: float, variables: Mapping[str, str]) -> list[Row]:
    """Freeze Redis so often, each time with calls in flight; leases are as they are by default unless told."""
    with Deployment(latency_s=(1.0, 2.0), variables=variables) as there, Ends(there) as ends:
        there.start(workers=2)
        ids: dict[str, str] = {}
        for _ in range(times):
            stream = Stream(there.url, JOBS, rate=2 * RATE)
            wait_for(lambda: there.sandbox.counters()["in_flight"] > 0, what="calls in flight")
            there.redis.freeze()
            time.sleep(stall_s)
            there.redis.thaw()
            stream.wait(within_s=120)
            ids.update(stream.ids)
            wait_until_ended(there, list(ids.values()), within_s=90)
        with there.client() as client:
            rescued = int(client.hget(f"{PREFIX}:counters", "rescued") or 0)
        rows = [
            exactly("provider calls, one a job", there.calls(), len(ids)),
            exactly("jobs rescued from workers that live", rescued, 0),
            *judged(there, ids, ends=ends),
        ]
        return [Row(f"stall of {stall_s:g} s x {times}: {row.what}", row.figure, row.limit, row.ok) for row in rows]


def full(*, refused: int) -> list[Row]:
    """Leave Redis no memory while jobs run: submits are refused clearly, what runs ends, and room is used again."""
    with Deployment(latency_s=(2.0, 3.0), variables=FAST) as there, Ends(there) as ends:
        there.start(workers=2)
        stream = Stream(there.url, JOBS)
        stream.wait(within_s=60)
        _limit(there, lambda used: int(1.02 * used))
        wait_for(lambda: _ask(there)[0] == "503 store_full", within_s=10, what="the first refusal")
        asked = [_ask(there) for _ in range(refused)]
        answers, slowest_s = Counter(told for told, _ in asked), max(took for _, took in asked)
        _limit(there, lambda _: 1)  # nothing at all may be added any more
        wait_until_ended(there, list(stream.ids.values()), within_s=60)
        ended_in_it = judged(there, stream.ids, ends=ends)
        _limit(there, lambda _: 0)
        began = time.monotonic()
        later = Stream(there.url, JOBS)
        wait_for(lambda: later.ids, within_s=60, every_s=0.01, what="the first submit that is accepted again")
        back_s = time.monotonic() - began
        later.wait(within_s=60)
        wait_until_ended(there, list(later.ids.values()), within_s=60)
        rows = [
            exactly("submits refused", dict(answers), {"503 store_full": refused}),
            at_most("slowest refusal", slowest_s, CLEAR_ANSWER_S, unit="s"),
            at_most("accepted again after", back_s, ROOM_AGAIN_S, unit="s"),
            exactly("limits broken among the jobs that ended meanwhile", sum(not row.ok for row in ended_in_it), 0),
            *judged(there, {**stream.ids, **later.ids}, ends=ends),
        ]
        return [Row(f"full: {row.what}", row.figure, row.limit, row.ok) for row in rows]


def _limit(there: Deployment, limit: Callable[[int], int]) -> None:
    with there.client() as client:
        client.config_set("maxmemory", limit(int(client.info("memory")["used_memory"])))


def _ask(there: Deployment) -> tuple[str, float]:
    """Submit once; return status and code, with a mark where Retry-After is missing, and how long it took (s)."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "is there room?"}]}
    began = time.monotonic()
    answer = httpx.post(f"{there.url}/api/v1/completion", json=body, headers={"Idempotency-Key": "room"}, timeout=20)
    told = f"{answer.status_code} {answer.json().get('code', '')}".rstrip()
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE and "retry-after" not in answer.headers:
        told += " without Retry-After"
    return told, time.monotonic() - began
