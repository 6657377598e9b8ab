"""A process that answers as a worker does, without LiteLLM: cache, flight, one POST to the sandbox.

`python -m tests.support.flight_peer` does what it is told over its standard input, a line of JSON for each thing to do.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any, Self

import aiohttp

from infrastructure.core.redis_core import connect
from tests.support.sandbox import ROOT
from workers.providers.caching.key import CacheKey, cache_key
from workers.providers.caching.response_cache import Kept, ResponseCache, core_cache
from workers.providers.calls import Answer
from workers.providers.flights.flights import Flights
from workers.providers.flights.party import Party

MODEL = "sandbox-small"


class FlightPeer:
    """The process and the line to it. `lease_s` is that of its flights; `base` the sandbox's URL for OpenAI clients."""

    def __init__(self, redis_url: str, base: str, *, lease_s: float = 10.0) -> None:
        command = [sys.executable, "-m", "tests.support.flight_peer", redis_url, base, str(lease_s)]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def tell(self, **order: Any) -> None:
        """Give an order, such as `asks=[["acme", "a prompt"]]`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()

    def told(self) -> dict[str, Any]:
        """Return what came of the oldest order that was not yet answered."""
        assert self._process.stdout is not None
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def ready(self) -> FlightPeer:
        """Wait until it listens."""
        self.tell(asks=[])
        self.told()
        return self

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._reap()

    def freeze(self) -> None:
        """Stop it without ending it."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it in order."""
        if self._process.poll() is None:
            self.thaw()
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._reap()

    def _reap(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.wait(60)
        self._process.stdin.close()
        self._process.stdout.close()


class _Asker:
    def __init__(self, redis_url: str, base: str, lease_s: float) -> None:
        self.owner = f"peer.{os.getpid()}"
        self._base = base
        self._redis = connect(redis_url, max_connections=16)
        self._core = core_cache(redis=self._redis, patience_s=5)
        self._cache = ResponseCache(self._core)
        self._flights: Flights[Answer] = Flights(self._redis, owner=self.owner, lease_s=lease_s)

    async def __aenter__(self) -> Self:
        headers = {"Authorization": "Bearer sandbox-key"}
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=500), headers=headers)
        await self._core.start()
        await self._flights.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._flights.close()
        await self._core.close()
        await self._http.close()
        await self._redis.aclose()

    async def asked(self, asks: list[tuple[str, str]], *, at_once: int) -> dict[str, Any]:
        """Ask all, so many at once; return how each was answered, and whose answers were not for who asked."""
        counts: Counter[str] = Counter(hit=0, joined=0, miss=0, crossed=0, failed=0)
        began, waiting = time.monotonic(), iter(asks)

        async def ask_on() -> None:
            for tenant, prompt in waiting:
                try:
                    how, answer = await self._ask(tenant, prompt)
                except Exception as exc:  # noqa: BLE001  the test counts them
                    counts["failed"] += 1
                    sys.stderr.write(f"{type(exc).__name__}: {exc}\n")
                    continue
                counts[how] += 1
                counts["crossed"] += answer["for"] != [tenant, prompt]
                counts[f"by {answer['by']}"] += 1

        await asyncio.gather(*(ask_on() for _ in range(min(at_once, len(asks)))))
        return {**counts, "owner": self.owner, "seconds": time.monotonic() - began}

    async def _ask(self, tenant: str, prompt: str) -> tuple[str, dict[str, Any]]:
        params = {"messages": [{"role": "user", "content": prompt}]}
        key = cache_key(tenant=tenant, model=MODEL, candidates=[("sandbox", MODEL)], params=params)
        if (kept := await self._cache.find(key)) is not None:
            return "hit", kept.result

        async def lead(_: Party) -> Answer:
            return await self._call(tenant, prompt, params)

        async def keep(answer: Answer) -> None:
            await self._keep(key, answer)

        shared = await self._flights.share(key, lead, deadline=time.monotonic() + 60, keep=keep)
        return "joined" if shared.joined else "miss", shared.answer.result

    async def _call(self, tenant: str, prompt: str, params: dict[str, Any]) -> Answer:
        async with self._http.post(f"{self._base}/chat/completions", json={"model": MODEL, **params}) as response:
            response.raise_for_status()
            result = await response.json()
        result |= {"for": [tenant, prompt], "by": self.owner}
        return Answer(result=result, usage=None, cost_usd=None, attempts=(), provider="sandbox", model=MODEL)

    async def _keep(self, key: CacheKey, answer: Answer) -> None:
        kept = Kept(result=answer.result, usage=None, cost_usd=None, provider="sandbox", model=MODEL, latency_ms=0.0)
        await self._cache.keep(key, kept, 300)


async def _serve(redis_url: str, base: str, lease_s: str) -> None:
    async with _Asker(redis_url, base, float(lease_s)) as asker:
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            told = await asker.asked([*map(tuple, order["asks"])], at_once=order.get("at_once", 1_000))
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:4]))
