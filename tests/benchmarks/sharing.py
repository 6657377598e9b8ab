"""Equal requests: whether they cost one call whoever dies, whether their keys are true, and what all this costs.

The promises of the cache key and of single-flight in full size; the default test suite shows each in a small one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from resource import RUSAGE_SELF, getrusage

from infrastructure.core.redis_core import connect
from tests.benchmarks.table import Table
from tests.support.cache_keys import BASE, CANDIDATES, CHANGES, changed, check_pairs, digest, digest_with_seed
from tests.support.redis_server import RedisServer
from tests.support.sandbox import SandboxProcess
from tests.support.shared_calls import equal_requests, killed_leaders, tenants_apart
from tests.support.sharing import TextWire
from workers.providers.caching.key import cache_key
from workers.providers.flights.flights import Flights
from workers.providers.flights.party import Party

PAIRS, SEEDS = 10_000, 100
LEADS, AT_ONCE = 20_000, 200


def measure() -> None:
    """Print all of it."""
    server, sandbox = RedisServer().start(), SandboxProcess().start()
    try:
        _keys()
        _flights(server, sandbox)
        asyncio.run(_costs(server.url))
    finally:
        sandbox.remove()
        server.remove()


def _keys() -> None:
    table = Table("The cache key", ["promise", "measured", "verdict"])
    pairs = 0
    with suppress(AssertionError):
        check_pairs(PAIRS)
        pairs = PAIRS
    table.row(f"{PAIRS} pairs: equal where they mean the same, and only there", pairs, _verdict(pairs == PAIRS))
    digests = {digest(changed(name)) for name in CHANGES} | {digest(BASE)}
    table.row("changes of a field that change it", len(digests) - 1, _verdict(len(digests) - 1 == len(CHANGES) >= 40))
    seeds = {digest_with_seed(seed) for seed in range(SEEDS)}
    table.row(f"digests of one request under {SEEDS} hash seeds", len(seeds), _verdict(seeds == {digest(BASE)}))
    table.show()


def _flights(server: RedisServer, sandbox: SandboxProcess) -> None:
    table = Table("Single-flight, real processes over HTTP", ["promise", "measured", "verdict"])
    made, told = equal_requests(server.url, sandbox)
    fine = made == 1 and told["failed"] == 0 and told.total() == 1_000
    table.row("1,000 equal requests at once over 8 processes: 1 call", made, _verdict(fine))
    calls, told = killed_leaders(server.url, sandbox)
    fine = max(calls) <= 2 and told["failed"] == 0 and told["joined"] + told["miss"] + told["hit"] == 15 * len(calls)
    table.row(
        f"leader killed {len(calls)} times: at most 2 calls each, those who wait answered", max(calls), _verdict(fine)
    )
    made, told = tenants_apart(server.url, sandbox)
    fine = told["crossed"] == told["failed"] == 0 and made <= 50 * 20
    table.row("50 tenants x 2,000 requests of 20 prompts: answers that crossed", told["crossed"], _verdict(fine))
    table.row("  calls made for them", made, _verdict(made <= 50 * 20))
    table.show()


async def _costs(url: str) -> None:
    table = Table("What it costs in the process, µs of CPU each", ["", "alone", f"{AT_ONCE} at once"])
    params = {**BASE, "messages": [*BASE["messages"], {"role": "user", "content": "A prompt. " * 100}]}
    key = _cpu_us(lambda: cache_key(tenant="acme", model="default", candidates=CANDIDATES, params=params))
    table.row("a cache key of a prompt of 1,000 characters", f"{key:.0f}", "")
    table.row("a lead with Redis", *[f"{await _led_us(url, at_once):.0f}" for at_once in (1, AT_ONCE)])
    table.row("a lead without", *[f"{await _led_us(None, at_once):.0f}" for at_once in (1, AT_ONCE)])
    table.show()


def _cpu_us(work: Callable[[], object], times: int = 10_000) -> float:
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times * 1e6


async def _led_us(url: str | None, at_once: int) -> float:
    redis = None if url is None else connect(url, max_connections=8)
    flights: Flights[str] = Flights(redis, owner="bench", wire=TextWire())
    await flights.start()
    numbers = iter(range(LEADS if at_once > 1 else LEADS // 10))
    text = "An answer of the usual length. " * 50

    async def lead(_: Party) -> str:
        await asyncio.sleep(0)
        return text

    async def ask_on() -> None:
        for number in numbers:
            await flights.share(f"1:acme:{at_once}.{number}", lead, deadline=time.monotonic() + 60)

    before = getrusage(RUSAGE_SELF)
    await asyncio.gather(*(ask_on() for _ in range(at_once)))
    after = getrusage(RUSAGE_SELF)
    await flights.close()
    if redis is not None:
        await redis.aclose()
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent / (LEADS if at_once > 1 else LEADS // 10) * 1e6


def _verdict(fine: bool) -> str:
    return "kept" if fine else "BROKEN"
