"""Kill -9 and power cuts of Redis while jobs come in: nothing is lost with `always`, at most the last second with `everysec`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from tests.chaos.harness.census import Ends, judged, states, wait_until_ended
from tests.chaos.harness.deployment import FAST, PREFIX, Deployment
from tests.chaos.harness.stream import Stream
from tests.chaos.rows import Row, at_most, counted, exactly, scaled

TIMES, EACH_S, RATE = 20, 3.0, 10.0
LAST_MS = 1_000
"""What `everysec` may lose: what was written in the second before the cut."""


def run(scale: float) -> Sequence[Row]:
    """Kill it 20 times with each setting, and cut its power as often with `everysec`."""
    times = scaled(TIMES, scale)
    return [*restarts(times=times, appendfsync="always"), *restarts(times=times, appendfsync="everysec"),
            *power_cuts(times=times)]  # fmt: skip


def restarts(*, times: int, appendfsync: str) -> list[Row]:
    """Kill Redis so many times, and start it again on its data."""
    with Deployment(latency_s=(0.2, 0.6), variables=FAST, appendfsync=appendfsync) as there, Ends(there) as ends:
        there.start(workers=2)
        stream = Stream(there.url, round(times * EACH_S * RATE), rate=RATE)
        for _ in range(times):
            time.sleep(EACH_S)
            there.redis.kill()
            there.redis.start()
        stream.wait(within_s=120)
        wait_until_ended(there, list(stream.ids.values()), within_s=90)
        rows = [
            exactly("restarts survived by every process", _living(there), 5),
            at_most("provider calls, of jobs + runs again + late ones", there.calls(), _allowed(there, stream)),
            counted("health probes", there.probes()),
            *judged(there, stream.ids, ends=ends),
        ]
        return [_named(f"kill -9 x {times}, {appendfsync}", row) for row in rows]


@dataclass
class Log:
    """How long the append-only file was, moment by moment (monotonic seconds, bytes)."""

    folder: Path
    seen: list[tuple[float, Path, int]] = field(default_factory=list)

    def look(self) -> None:
        """Note its length now."""
        newest = max(self.folder.glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime_ns)
        self.seen.append((time.monotonic(), newest, newest.stat().st_size))

    def cut(self, ago_s: float) -> None:
        """Take away what was written in the last `ago_s` seconds, as a power cut does to what was not yet on the disk."""
        until = time.monotonic() - ago_s
        _, path, size = max((one for one in self.seen if one[0] <= until), key=lambda one: one[0])
        with path.open("r+b") as file:
            file.truncate(size)


def power_cuts(*, times: int) -> list[Row]:
    """Kill Redis and take away what it wrote in the last second; count which accepted jobs are gone, and how old they were."""
    lost_ms: list[float] = []
    with Deployment(latency_s=(0.2, 0.6), variables=FAST, appendfsync="everysec") as there:
        there.start(workers=2)
        lasting: dict[str, str] = {}
        for _ in range(times):
            stream, cut_at = _cut_power(there)
            gone = _gone(there, stream)
            lost_ms += [cut_at - accepted for prompt, accepted in gone.items()]
            lasting.update({prompt: job for prompt, job in stream.ids.items() if prompt not in gone})
        wait_until_ended(there, list(lasting.values()), within_s=90)
        rows = [
            counted("accepted jobs lost", len(lost_ms)),
            at_most("oldest lost job, accepted before the cut", max(lost_ms, default=0.0), LAST_MS + 100, unit="ms"),
            *judged(there, lasting),
        ]
        return [_named(f"power cut x {times}, everysec", row) for row in rows]


def _cut_power(there: Deployment) -> tuple[Stream, float]:
    log = Log(there.redis.folder)
    stream = Stream(there.url, round(EACH_S * RATE), rate=RATE)
    until = time.monotonic() + EACH_S
    while time.monotonic() < until:
        log.look()
        time.sleep(0.01)
    there.redis.kill()
    cut_at = time.time() * 1000
    log.cut(LAST_MS / 1000)
    there.redis.start()
    stream.wait(within_s=60)
    return stream, cut_at


def _gone(there: Deployment, stream: Stream) -> dict[str, float]:
    """Return the accepted jobs that are not there any more, with the instant of their 202 (ms since 1970)."""
    with there.client() as client:
        found = states(client, list(stream.ids.values()))
    return {prompt: stream.accepted_ms[prompt] for prompt, (state, *_) in zip(stream.ids, found, strict=True) if state is None}  # fmt: skip


def _living(there: Deployment) -> int:
    return sum(one.lives for one in (*there.workers, there.web, there.upkeep, there.beat))


def _allowed(there: Deployment, stream: Stream) -> int:
    """Return how many calls the jobs may have made: as many as they tell of runs or attempts, refused late ones, one a death."""
    with there.client() as client:
        found = states(client, list(stream.ids.values()), "attempts", "deliveries", "deaths")
        late = int(client.hget(f"{PREFIX}:counters", "stale_writes") or 0)
    runs = [max(1, int(deliveries or 0), len(orjson.loads(tried or b"[]"))) for _, tried, deliveries, _ in found]
    return late + sum(runs) + sum(int(deaths or 0) for *_, deaths in found)


def _named(what: str, row: Row) -> Row:
    return Row(f"{what}: {row.what}", row.figure, row.limit, row.ok)
