"""CPU that the gate, the answer cache and shared calls add to a call of a process, beside the call without them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from infrastructure.core.config_core import Settings
from infrastructure.core.config_core.sections import Breakers
from infrastructure.core.logger_core import get_logger
from infrastructure.core.redis_core import connect
from tests.benchmarks.table import Table
from tests.support.providers import account, call, settings_of
from tests.support.redis_server import RedisServer
from tests.support.sandbox import SandboxProcess
from workers.jobs.gate.fleet_gate import FleetGate
from workers.jobs.gate.local_gate import LocalGate
from workers.jobs.gate.redis_gate import RedisGate
from workers.providers.caching.response_cache import ResponseCache, core_cache
from workers.providers.flights.flights import Flights
from workers.providers.litellm_manager import LiteLLMManager

CALLS, AT_ONCE, ROUNDS = 300, 16, 5
CONNECTIONS = 64
_serial = itertools.count()


def measure() -> None:
    """Print the least CPU of a call over some rounds, in which the kinds take turns."""
    server, sandbox = RedisServer(appendonly=True).start(), SandboxProcess().start()
    try:
        asyncio.run(_measure(server, settings_of(only=account(sandbox, "only"))))
    finally:
        server.remove()
        sandbox.remove()


async def _measure(server: RedisServer, settings: Settings) -> None:
    async with (
        _manager(settings, None) as bare,
        _manager(settings, server, shares=False) as gated,
        _manager(settings, server) as whole,
    ):
        kinds = {"bare": bare, "with the gate": gated, "with the gate, the cache, shared calls": whole}
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _, (kind, manager) in itertools.product(range(ROUNDS + 1), kinds.items()):
            times[kind].append(await _round(manager))
    table = Table(f"{CALLS} calls, {AT_ONCE} at once, best of {ROUNDS} rounds in turn", ["", "CPU ms a call", "added"])
    least = {kind: min(seen[1:]) for kind, seen in times.items()}  # the first round warms up
    for kind, cpu_ms in least.items():
        table.row(kind, f"{cpu_ms:.2f}", f"{cpu_ms - least['bare']:.2f}")
    table.show()


async def _round(manager: LiteLLMManager) -> float:
    """Make the calls; return the milliseconds of CPU of each."""
    questions = iter([f"question {next(_serial)}" for _ in range(CALLS)])

    async def one_after_the_other() -> None:
        for question in questions:
            await manager.completion(call(question, within_s=120))

    began = time.process_time()
    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    return (time.process_time() - began) / CALLS * 1_000


@asynccontextmanager
async def _manager(
    settings: Settings, server: RedisServer | None, *, shares: bool = True
) -> AsyncIterator[LiteLLMManager]:
    """Give a manager: of this process alone, or with all that it has in a worker."""
    if server is None:
        alone = LiteLLMManager(lambda: settings)
        await alone.start()
        yield alone
        await alone.close()
        return
    redis, log, owner = connect(server.url, max_connections=CONNECTIONS), get_logger("bench", "gate"), f"w@{shares}"
    gate = FleetGate(RedisGate(redis, prefix="aip", owner=owner, breakers=Breakers), LocalGate(), log=log)
    cache, flights = core_cache(redis=redis, prefix="aip"), Flights[Any](redis, owner=owner)
    await flights.start()
    sharing: dict[str, Any] = {"cache": ResponseCache(cache), "flights": flights} if shares else {}
    manager = LiteLLMManager(lambda: settings, gate=gate, **sharing)
    await manager.start()
    yield manager
    await flights.close()
    await manager.close()
    await gate.close()
    await cache.close()
    await redis.aclose()
