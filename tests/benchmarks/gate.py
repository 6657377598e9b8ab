"""What the gate before a provider call costs, and whether exactly one call tries at each opening of a breaker."""

from __future__ import annotations

import asyncio
import time

import redis.asyncio as aioredis

from infrastructure.core.config_core.sections import Breakers
from infrastructure.core.redis_core import connect
from tests.benchmarks.table import Table
from tests.support.gates import PREFIX, a_begin, an_end
from tests.support.openings import open_again_and_again
from tests.support.redis_server import RedisServer
from workers.jobs.gate.models import Limits
from workers.jobs.gate.redis_gate import RedisGate

CALLERS, OPENINGS = 64, 1_000
CALLS = 6_000
TARGETS = 4


async def _calls(gate: RedisGate, count: int, provider: str) -> None:
    limits = Limits(requests_per_minute=100_000_000, tokens_per_minute=100_000_000_000)
    for _ in range(count):
        asked = a_begin(provider=provider, limits=limits, tokens=100, upper_usd=0.01)
        admission = await gate.begin(asked)
        assert admission.admitted, admission
        await gate.end(an_end(asked, admission))


async def _measure_calls(redis: aioredis.Redis, table: Table) -> None:
    gate = RedisGate(redis, prefix=PREFIX, owner="bench", breakers=Breakers)
    for callers in (1, 8, 64, 512):
        each = max(1, CALLS // max(callers, 4))
        before = await redis.info("commandstats")
        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(_calls(gate, each, f"p{number % TARGETS}") for number in range(callers)))
        wall, cpu, made = time.perf_counter() - wall, time.process_time() - cpu, each * callers
        after = await redis.info("commandstats")
        spent, runs = (_evalsha(after)[part] - _evalsha(before)[part] for part in ("usec", "calls"))
        table.row(f"{callers} callers", f"{made / wall:,.0f}", f"{cpu / made * 1e6:.0f}", f"{spent / made:.0f}",
                  f"{2 * made / runs:.1f}")  # fmt: skip


def _evalsha(stats: dict[str, dict[str, int]]) -> dict[str, int]:
    return stats.get("cmdstat_evalsha", {"usec": 0, "calls": 0})


async def _measure(url: str) -> None:
    redis = connect(url, max_connections=16)
    table = Table("a call's begin and end", ["", "calls/s", "µs of worker", "µs of Redis", "items a script"])
    await _measure_calls(redis, table)
    table.show()
    await redis.flushall()
    await redis.aclose()
    started = time.perf_counter()
    tries = await open_again_and_again(url, callers=CALLERS, openings=OPENINGS)
    table = Table("who tries at an opening", ["", "openings", "tries", "refused", "most at a time", "s", "verdict"])
    table.row(f"{CALLERS} callers, 8 gates", len(tries.by_epoch), tries.by_epoch.total(), f"{tries.refused:,}",
              tries.most_inside, f"{time.perf_counter() - started:.0f}", "as promised" if not tries.faults else tries.faults)  # fmt: skip
    table.show()


def measure() -> None:
    """Print the tables."""
    server = RedisServer().start()
    try:
        asyncio.run(_measure(server.url))
    finally:
        server.remove()
