"""The cache: how soon others see a change, what a get costs, what is kept, and whether the memory stays in its bounds."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import subprocess
import sys
import time
from bisect import bisect
from collections import OrderedDict
from collections.abc import Iterable

import psutil

from infrastructure.core.cache_core import CoreCache
from infrastructure.core.cache_core.memory import Entry, Memory
from tests.benchmarks.table import Table
from tests.support.fleet import ROOT
from tests.support.redis_server import RedisServer

PROCESSES = 8
OVERWRITES = 10_000
KEYS = 100_000
REQUESTS = 500_000
MANY = 1_000_000
LIMIT = 64_000_000
ANSWER = {"content": "An answer of the usual length. " * 10, "usage": {"total_tokens": 215}, "cost_usd": 0.00043}


def measure(overwrites: int = OVERWRITES, many: int = MANY) -> None:
    """Print all of it."""
    server = RedisServer().start()
    try:
        _changes(server.url, overwrites)
        asyncio.run(_gets(server.url))
    finally:
        server.remove()
    _hit_ratio()
    _bounds(many)


def _changes(url: str, overwrites: int) -> None:
    table = Table(
        f"{PROCESSES} processes, {overwrites} overwrites of what all have in memory: seen by the others after",
        [
            "",
            "seen",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "most ms",
            "not seen",
            "stale after 5 s",
            "p99.9 ms the machine was late",
        ],
    )
    for protocol in (2, 3):
        each = overwrites // PROCESSES
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.cache_process",
            f"{url}?protocol={protocol}",
            str(PROCESSES),
            str(each),
        ]
        running = [
            subprocess.Popen([*command, str(number)], cwd=ROOT, env=os.environ, stdout=subprocess.PIPE)
            for number in range(PROCESSES)
        ]
        told = [json.loads(process.communicate(timeout=300)[0]) for process in running]
        seen = sorted(latency for one in told for latency in one["seen_ms"])
        late = sorted(latency for one in told for latency in one["late_ms"])
        missing = PROCESSES * (PROCESSES - 1) * each - len(seen)
        figures = [f"{_percentile(seen, part):.1f}" for part in (0.5, 0.99, 0.999, 1)]
        table.row(
            f"RESP{protocol}",
            len(seen),
            *figures,
            missing,
            sum(one["stale"] for one in told),
            f"{_percentile(late, 0.999):.1f}",
        )
    table.show()


async def _gets(url: str) -> None:
    cache, other = CoreCache("bench", redis_url=url), CoreCache("bench", redis_url=url)
    table = Table("One get", ["", "p50 µs", "p99 µs", "p99.9 µs"])
    for what, value in (
        ("answer of 400 B", ANSWER),
        ("bytes of 6 kB", os.urandom(6_000)),
        ("JSON of 6 kB", [ANSWER] * 16),
    ):
        for number in range(500):
            await cache.set(f"{what}{number}", value)
        table.row(f"L1, {what}", *await _timed(cache, [f"{what}{number % 500}" for number in range(50_000)]))
    for number in range(3_000):
        await cache.set(f"l2:{number}", ANSWER)
    table.row("L2, answer of 400 B, one at a time", *await _timed(other, [f"l2:{number}" for number in range(3_000)]))
    table.row("miss, one at a time", *await _timed(other, [f"none:{number}" for number in range(3_000)]))
    fresh = CoreCache("bench", redis_url=url, patience_s=5)
    began = time.perf_counter()
    await asyncio.gather(*(fresh.get(f"l2:{number}") for number in range(2_000)))
    table.row("L2, 2,000 at once, each", f"{(time.perf_counter() - began) / 2_000 * 1e6:.0f}", "-", "-")
    table.show()
    for one in (cache, other, fresh):
        await one.close()


async def _timed(cache: CoreCache, keys: Iterable[str]) -> list[str]:
    took = []
    for key in keys:
        began = time.perf_counter()
        await cache.get(key)
        took.append((time.perf_counter() - began) * 1e6)
    took.sort()
    return [f"{_percentile(took, part):.1f}" for part in (0.5, 0.99, 0.999)]


def _hit_ratio() -> None:
    chance = random.Random(1)
    weights = list(itertools.accumulate(1 / rank**0.9 for rank in range(1, KEYS + 1)))
    stream = [bisect(weights, chance.random() * weights[-1]) for _ in range(REQUESTS)]
    held, hits = Memory(max_entries=KEYS // 100, max_bytes=LIMIT, clock=time.monotonic), 0
    began = time.perf_counter()
    for number in stream:
        if held.get(("-", f"{number}")):
            hits += 1
        else:
            held.put(("-", f"{number}"), Entry(b"x", written=0, until=1e12, stamp=None))
    each_us = (time.perf_counter() - began) / REQUESTS * 1e6
    lru: OrderedDict[int, None] = OrderedDict()
    lru_hits = 0
    for number in stream:
        if number in lru:
            lru_hits += 1
            lru.move_to_end(number)
        else:
            lru[number] = None
            if len(lru) > KEYS // 100:
                lru.popitem(last=False)
    table = Table(f"Hit ratio, Zipf 0.9 over {KEYS} keys, room for 1 %", ["", "hit ratio", "µs a request"])
    table.row("W-TinyLFU (L1)", f"{hits / REQUESTS:.3f}", f"{each_us:.1f}")
    table.row("LRU", f"{lru_hits / REQUESTS:.3f}", "-")
    table.show()


def _bounds(many: int) -> None:
    chance, process = random.Random(5), psutil.Process()
    source = os.urandom(1_000_000)
    held = Memory(max_entries=100_000, max_bytes=LIMIT, clock=time.monotonic)
    before, most, most_resident = process.memory_info().rss, 0, 0
    began = time.perf_counter()
    for number in range(many):
        held.put(
            ("-", f"{number}"), Entry(source[: int(10 ** chance.uniform(0, 6))], written=0, until=1e12, stamp=None)
        )
        most = max(most, held.bytes)
        if number % 1_000 == 0:
            most_resident = max(most_resident, process.memory_info().rss - before)
    table = Table(f"{many} keys of 1 B to 1 MB (log-uniform) through L1 of {LIMIT / 1e6:.0f} MB", ["", ""])
    table.row("most bytes counted", f"{most / 1e6:.2f} MB")
    table.row("resident memory grew by at most", f"{most_resident / 1e6:.1f} MB")
    table.row("entries at the end", len(held))
    table.row("seconds", f"{time.perf_counter() - began:.0f}")
    table.show()


def _percentile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")
