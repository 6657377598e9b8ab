"""Whatever leaders and those who wait do, in whatever order: one call at a time for a key, and everybody gets his end."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from random import Random

import pytest
import redis.asyncio as aioredis

from tests.support.sharing import Unavailable, Verdict, process, soon
from tests.support.waiting import eventually
from workers.providers.flights import locks
from workers.providers.flights.flights import Flights
from workers.providers.flights.party import Party

pytestmark = pytest.mark.anyio
PROCESSES, KEYS, ASKS = 3, 30, 300


class Provider:
    """Answers, fails and dawdles at random; counts the calls of a key that are under way at once."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.under_way: Counter[str] = Counter()
        self.most = 0
        self.calls = 0

    async def call(self, key: str, party: Party) -> str:
        """Make a call for a party."""
        self.calls += 1
        self.under_way[key] += 1
        self.most = max(self.most, self.under_way[key])
        try:
            async with party.within(5):
                await asyncio.sleep(self._random.choice([0, 0.001, 0.01, 0.03]))
            match self._random.randrange(3):
                case 0:
                    raise Unavailable("away")
                case 1:
                    raise Verdict(key)
            return f"answer to {key}"
        finally:
            self.under_way[key] -= 1


async def ask(flights: Flights[str], provider: Provider, key: str, random: Random) -> str:
    """Ask once, with a deadline or a cancel that may come at any moment; return how it ended."""
    await asyncio.sleep(random.random() * 0.5)
    within_s = random.choice([0.002, 0.02, 10, 10, 10])
    task = asyncio.create_task(
        flights.share(key, lambda party: provider.call(key, party), deadline=soon(within_s), kept_s=1)
    )
    if random.random() < 0.3:
        await asyncio.sleep(random.random() * 0.03)
        task.cancel()
    try:
        shared = await task
    except asyncio.CancelledError:
        return "cancelled"
    except (TimeoutError, Unavailable) as exc:
        return type(exc).__name__
    except Verdict as exc:
        return "verdict" if str(exc) == key else "crossed"
    return "answer" if shared.answer == f"answer to {key}" else "crossed"


@pytest.mark.parametrize("seed", range(4))
async def test_any_order_of_events_keeps_one_call_at_a_time_and_ends_for_everybody(
    seed: int, redis: aioredis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE_S", 20)  # without a Redis that answers everybody calls: see test_flights_redis
    random = Random(seed)
    provider = Provider(random)
    async with AsyncExitStack() as stack:
        fleet = [
            await stack.enter_async_context(process(redis_url, f"process-{number}", lease_s=10))
            for number in range(PROCESSES)
        ]
        asks = [
            asyncio.create_task(ask(random.choice(fleet), provider, f"1:acme:{random.randrange(KEYS)}", random))
            for _ in range(ASKS)
        ]
        done, late = await asyncio.wait(asks, timeout=60)
        assert not late
        ends = Counter(task.result() for task in done)
        assert ends["crossed"] == 0
        assert ends["answer"] > 0
        assert provider.most == 1
        await eventually(lambda: not any(flights._pilots for flights in fleet), what="no flight is left")
        for name in await redis.keys("aip:flight:*"):
            left = await redis.hgetall(name)
            assert not left or b"landed" in left  # or its second of keeping is over
