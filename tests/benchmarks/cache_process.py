"""One of several processes that overwrite and read each other's values: `cache_process URL PROCESSES OVERWRITES NUMBER`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.cache_core import CoreCache
from tests.support.waiting import eventually

POLL_S = 0.01
WRITE_S = 0.04
SETTLE_S = 5.0


class Reader:
    """Looks at what the others wrote, and notes when it saw each version first."""

    def __init__(self, cache: CoreCache, others: list[int]) -> None:
        self._cache = cache
        self._last = dict.fromkeys(others, -1)
        self._times: dict[int, float] = {}
        self.seen_ms: list[float] = []
        self.late_ms: list[float] = []
        """How much longer than asked each pause took: what the machine itself adds, cache or no cache."""

    async def look(self) -> None:
        """Read each value once; what was overwritten before it was seen counts from its own write."""
        values = await asyncio.gather(*(self._cache.get(f"of:{other}") for other in self._last))
        for other, value in zip(tuple(self._last), values, strict=True):
            if value is None or value["version"] <= self._last[other]:
                continue
            now = time.monotonic()  # one clock for all processes of a machine
            for at in value["written"][self._last[other] - value["version"] :]:
                self.seen_ms.append((now - at) * 1_000)
            self._last[other] = value["version"]

    async def stale(self, final: int) -> int:
        """Return how many values are not the last that were written."""
        values = [await self._cache.get(f"of:{other}") for other in self._last]
        return sum(value is None or value["version"] != final for value in values)


async def run(url: str, processes: int, overwrites: int, number: int) -> dict[str, Any]:
    """Overwrite one's own value and watch the others' until all have been seen, and 5 s more."""
    space = f"bench-{url[-1]}"
    cache, redis = CoreCache(space, redis_url=url, patience_s=1), Redis.from_url(url)
    await cache.start()
    await eventually(lambda: cache.listening)
    await _together(redis, f"{space}:ready", processes)
    reader = Reader(cache, [other for other in range(processes) if other != number])
    reading = asyncio.create_task(_keep_looking(reader))
    written: list[float] = []
    for version in range(overwrites):
        written.append(time.monotonic())
        await cache.set(f"of:{number}", {"version": version, "written": written[-50:]})
        await asyncio.sleep(WRITE_S)
    await _together(redis, f"{space}:done", processes)
    await asyncio.sleep(SETTLE_S)
    reading.cancel()
    stale = await reader.stale(overwrites - 1)
    await cache.close()
    await redis.aclose()
    return {"seen_ms": reader.seen_ms, "late_ms": reader.late_ms, "stale": stale}


async def _together(redis: Redis, key: str, processes: int) -> None:
    """Go on when every process has come this far."""
    await redis.incr(key)

    async def all_there() -> bool:
        return int(await redis.get(key) or 0) >= processes

    await eventually(all_there, within_s=120)


async def _keep_looking(reader: Reader) -> None:
    while True:
        await reader.look()
        began = time.monotonic()
        await asyncio.sleep(POLL_S)
        reader.late_ms.append((time.monotonic() - began - POLL_S) * 1_000)


if __name__ == "__main__":
    answer = asyncio.run(run(sys.argv[1], *map(int, sys.argv[2:])))
    sys.stdout.write(json.dumps(answer))
