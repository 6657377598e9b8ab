"""The section about Redis: each server in its strictest role, and the sentinels where there are some."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from redis.asyncio import Redis
from redis.exceptions import RedisError

from infrastructure.core.config_core import Settings, data_dir
from infrastructure.core.error_core import ConfigError
from infrastructure.core.redis_check import Finding, Status, check_redis
from infrastructure.core.redis_check.roles import Server, servers
from infrastructure.core.redis_core import connect, shown
from infrastructure.core.redis_sentinel.address import SentinelAddress, is_sentinel, parse
from infrastructure.optional.embedded_redis.embedded_redis import EmbeddedRedis

ASK_S = 2.0
ENOUGH = 3


async def findings(settings: Settings) -> list[Finding]:
    """Return what is found, all servers asked at once."""
    embedded = _embedded(settings)
    found = servers(settings, embedded_url=embedded)
    if not found:
        return [
            Finding(
                id="redis.jobs.reachable", status=Status.SKIPPED,
                found="no redis.url is set and the embedded server does not run; `ai-provider up` starts it, with appendfsync always",
            )
        ]  # fmt: skip
    return [one for part in await asyncio.gather(*map(_server, found)) for one in part]


def _embedded(settings: Settings) -> str | None:
    """Return where the embedded server of the data folder runs; None when it does not."""
    if settings.redis.url is not None:
        return None
    server = EmbeddedRedis(data_dir(settings) / "redis", settings.redis.server)
    return server.url if server.pid else None


async def _server(server: Server) -> list[Finding]:
    roles = ", ".join(role.value for role in server.roles)
    try:
        redis = connect(server.url, max_connections=2, wait_s=ASK_S, socket_timeout_s=ASK_S)
    except ConfigError as exc:
        why = "; ".join(map(str, exc.problems))
        return [Finding(id=f"{server.name}.reachable", status=Status.FAILED, found=why, mend="correct the URL")]
    async with redis:
        found = await check_redis(redis, server.roles[0], sentinel=is_sentinel(server.url))
    found[0] = replace(found[0], found=f"{shown(server.url)} ({roles}): {found[0].found}")
    if is_sentinel(server.url):
        found.append(await _sentinels(parse(server.url)))
    return [replace(one, id=f"{server.name}.{one.id}") for one in found]


async def _sentinels(address: SentinelAddress) -> Finding:
    """Judge whether a failover can be decided when a machine is lost."""
    answering = sum(await asyncio.gather(*(_answers(host, port, address) for host, port in address.sentinels)))
    found = f"{answering} of {len(address.sentinels)} sentinels answer and know {address.master}"
    if answering == 0:
        return Finding(
            id="sentinels", status=Status.FAILED, found=found, stake="the master cannot be found: nothing runs",
            mend="start them, or correct the URL, its master= or sentinel_password=",
        )  # fmt: skip
    if answering < max(ENOUGH, len(address.sentinels)):
        return Finding(
            id="sentinels", status=Status.WARNED, found=found, stake="with fewer than three, one lost machine can prevent a failover",
            mend="run three or more, on machines of their own, and name all of them in the URL",
        )  # fmt: skip
    return Finding(id="sentinels", status=Status.PASSED, found=found)


async def _answers(host: str, port: int, address: SentinelAddress) -> bool:
    try:
        async with asyncio.timeout(ASK_S), Redis(host=host, port=port, **address.sentinel_options()) as sentinel:  # type: ignore[arg-type]  # all are texts
            return bool(await sentinel.sentinel_master(address.master))
    except (RedisError, OSError, TimeoutError):
        return False
