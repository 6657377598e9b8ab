"""Every script's answer cut off after it ran, so that redis-py runs it again: the database must be as if it had run once."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import redis.asyncio as aioredis

from infrastructure.core.redis_core import connect
from tests.chaos.harness.proxy import CuttingProxy
from tests.chaos.harness.steps import STEPS, Side
from tests.chaos.rows import Row, exactly, scaled
from tests.chaos.table import say
from tests.support.redis_server import RedisServer
from workers.jobs.gate import redis_gate
from workers.jobs.store import lua

TIMES, AT_ONCE = 100, 4
INSTANT, ABOUT_MS = 1_000_000_000_000, 10_000
_NUMBER = re.compile(rb"\d{13,}(?:\.\d+)?")
_MARK = re.compile(rb"cut-\d+-\d+")


def run(scale: float) -> Sequence[Row]:
    """Cut each script's answer 100 times."""
    return asyncio.run(cut_answers(times=scaled(TIMES, scale), names=list(STEPS)))


async def cut_answers(*, times: int, names: Sequence[str]) -> list[Row]:
    """Cut the answer of these scripts so many times each."""
    server = RedisServer(appendonly=True).start()
    proxy = CuttingProxy(server.socket, _wanted)
    try:
        async with proxy.listening():
            direct, cut = connect(server.url, max_connections=AT_ONCE), connect(proxy.url, max_connections=AT_ONCE)
            try:
                await _load_all(direct)
                return [row for name in names for row in await _row(name, direct, cut, proxy, times)]
            finally:
                await direct.aclose()
                await cut.aclose()
    finally:
        server.remove()


def _wanted(piece: bytes) -> str | None:
    """Name the first run of a script under each prefix that is marked for a cut."""
    mark = _MARK.search(piece) if b"EVALSHA" in piece else None
    return None if mark is None else mark[0].decode()


async def _load_all(direct: aioredis.Redis) -> None:
    """Load every script, so that no answer that is cut is only that the server does not know it."""
    for name in lua.NAMES:
        await direct.script_load(lua.source(name))
    for name in (*redis_gate.NAMES, "credit"):
        await direct.script_load(lua.source(name, redis_gate.PACKAGE))


async def _row(
    name: str, direct: aioredis.Redis, cut: aioredis.Redis, proxy: CuttingProxy, times: int
) -> Sequence[Row]:
    """Compare the database after each cut with the one after the same step without."""
    place = list(STEPS).index(name)
    expected = await _after(name, Side(direct, f"whole-{place}"), direct)
    free = asyncio.Semaphore(AT_ONCE)

    async def once(number: int) -> str:
        async with free:
            return await _after(name, Side(cut, f"cut-{place}-{number}"), direct)

    found = Counter(await asyncio.gather(*(once(number) for number in range(times))))
    cuts = sum(count for mark, count in proxy.cuts.items() if mark.startswith(f"cut-{place}-"))
    twice = times - found.pop(expected, 0)
    if twice:
        say(f"  {name}: expected {expected}\n  {name}: got      {next(iter(found))}")
    return [exactly(f"{name}: something done twice, of {cuts} answers cut", twice if cuts == times else "not cut", 0)]


async def _after(name: str, side: Side, direct: aioredis.Redis) -> str:
    """Do a step from its prepared database; return all that is there then, and what was published."""
    prepare, do = STEPS[name]
    prepared = await prepare(Side(direct, side.prefix))
    async with direct.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.psubscribe(f"{side.prefix}:*")
        with suppress(
            TimeoutError
        ):  # the gate waits a second and no longer; what has run must have run once all the same
            await do(side, prepared)
        heard: list[bytes] = []
        while message := await pubsub.get_message(timeout=0.05):
            heard.append(message["data"])
    seconds, micros = await direct.time()
    now_ms = seconds * 1000 + micros // 1000
    names = sorted([name async for name in direct.scan_iter(f"{side.prefix}:*", count=10_000)])
    content = [(key, await _content(direct, key), await direct.pttl(key) > 0) for key in names]
    return _plain(repr((content, sorted(heard))).encode(), now_ms, side.prefix)


async def _content(direct: aioredis.Redis, name: bytes) -> Any:
    kind_of: Any = await direct.type(name)
    kind = kind_of.decode()
    if kind == "hash":
        return sorted((await direct.hgetall(name)).items())
    if kind == "zset":
        return await direct.zrange(name, 0, -1, withscores=True)
    if kind == "set":
        return sorted(await direct.smembers(name))
    return await direct.get(name)


def _plain(content: bytes, now_ms: int, prefix: str) -> str:
    """Return it without what differs from run to run: instants become tens of seconds from now, nonces nothing."""

    def about(found: re.Match[bytes]) -> bytes:
        value = float(found[0])
        return found[0] if value > 10 * INSTANT else b"T%+d" % round((value - now_ms) / ABOUT_MS)

    content = re.sub(rb"credited:[0-9a-f]+", b"credited:N", content)
    text = _NUMBER.sub(about, content).decode().replace(prefix, "P")
    text = re.sub(r"\b\d{9}:", "W:", text)  # a piece of the breaker's window
    return re.sub(r"(\d\.\d{2})\d+", r"\1", text)
