"""A cache in another process, which does what it is told over its standard input: `python -m tests.support.cache_peer URL`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

from infrastructure.core.cache_core import CoreCache
from tests.support.machine import in_time
from tests.support.waiting import wait_for

SERVICE = "cache-test"


class CachePeer:
    """The process and the line to it."""

    def __init__(self, redis_url: str) -> None:
        command = [sys.executable, "-m", "tests.support.cache_peer", redis_url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the cache there and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([method, arguments, options]).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def reopen(self) -> None:
        """Begin with a new cache, which listens when this returns."""
        self.ask("reopen")
        wait_for(lambda: self.ask("listening"), what="the other process listens")

    def until(self, key: str, value: Any, *, within_s: float) -> float:
        """Return after how many seconds the cache there gives this value; more than `within_s` when it does not."""
        took: float = self.ask("until", key, value, within_s)
        return took

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


async def _until(cache: CoreCache, key: str, value: Any, within_s: float) -> float:
    began = time.monotonic()
    while await cache.get(key) != value and in_time(time.monotonic() - began, within_s):  # noqa: ASYNC110  seen from outside
        await asyncio.sleep(0.001)
    return time.monotonic() - began


async def _serve(url: str) -> None:
    cache = CoreCache(SERVICE, redis_url=url, patience_s=10)
    answer: Any
    while line := await asyncio.to_thread(sys.stdin.readline):
        method, arguments, options = json.loads(line)
        if method == "until":
            answer = await _until(cache, *arguments)
        elif method == "reopen":
            await cache.close()
            cache, answer = CoreCache(SERVICE, redis_url=url, patience_s=10), None
            await cache.start()
        elif method == "listening":
            answer = cache.listening
        else:
            answer = getattr(cache, method)(*arguments, **options)
            answer = await answer if asyncio.iscoroutine(answer) else answer
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    await cache.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
