"""What a long-running process says at its start of the Redis that it runs on, once, and when it refuses to run on it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable

from redis.exceptions import RedisError

from infrastructure.core.config_core import Environment, Settings
from infrastructure.core.logger_core import CoreLogger
from infrastructure.core.logger_core.redis_advice import REDIS_ADVICE, REDIS_UNFIT
from infrastructure.core.redis_check.checking import check_redis
from infrastructure.core.redis_check.findings import Finding, Status
from infrastructure.core.redis_check.roles import Server, servers
from infrastructure.core.redis_core import connect
from infrastructure.core.redis_sentinel.address import is_sentinel

AGAIN_S = 2.0
SAID_FOR_S = 3_600
ANSWER_S = 3.0


async def advise(settings: Settings, *, kind: str, log: CoreLogger, on_refused: Callable[[str], None]) -> None:
    """Wait until each server answers, check it, and log what is wrong; each finding once an hour for one process's name.

    A process that dies and is started again in a loop says the same each time otherwise. `on_refused` is called with a
    sentence when a server can never do. Waits for as long as a server is away: it is for the background.
    """
    await asyncio.gather(*(_advise(server, settings, kind, log, on_refused) for server in servers(settings)))


async def _advise(
    server: Server, settings: Settings, kind: str, log: CoreLogger, on_refused: Callable[[str], None]
) -> None:
    found = await _findings(server)
    for one in found:
        if _told(one, settings) and await _first(one, server, settings, kind):
            say = log.error if one.status is Status.FAILED else log.warning
            say(
                REDIS_ADVICE.get(one.id, REDIS_UNFIT),
                context={"check": f"{server.name}.{one.id}", "status": one.status.value},
            )
    for text in refusals(found, server):
        on_refused(text)


def _told(finding: Finding, settings: Settings) -> bool:
    """Say whether a finding is worth a line: on somebody's own machine a Redis without a memory limit is no news."""
    if finding.id == "memory" and settings.environment is Environment.DEVELOPMENT:
        return finding.status is Status.FAILED
    return finding.status in {Status.WARNED, Status.FAILED}


def refusals(found: Iterable[Finding], server: Server) -> list[str]:
    """Return why the service refuses to run on a server; mostly nothing."""
    return [
        f"{server.name}: {one.found}: {one.stake}; {one.mend}"
        for one in found
        if one.id == "mode" and one.status is Status.FAILED
    ]


async def _findings(server: Server) -> list[Finding]:
    while True:
        async with connect(server.url, max_connections=2, wait_s=ANSWER_S, socket_timeout_s=ANSWER_S) as redis:
            found = await check_redis(redis, server.roles[0], sentinel=is_sentinel(server.url))
        if len(found) > 1:
            return found
        await asyncio.sleep(AGAIN_S)


async def _first(finding: Finding, server: Server, settings: Settings, kind: str) -> bool:
    """Say whether this process has not said this lately; where Redis takes no mark it is said again."""
    if settings.redis.url is None:
        return True
    said = f"{settings.service.id}:{server.name}:{finding.id}:{finding.status}:{finding.stake}"
    mark = f"{settings.redis.prefix}:advised:{kind}:{hashlib.sha256(said.encode()).hexdigest()[:16]}"
    url = settings.redis.url.get_secret_value()
    try:
        async with connect(url, max_connections=1, wait_s=ANSWER_S, socket_timeout_s=ANSWER_S) as redis:
            return bool(await redis.set(mark, 1, nx=True, ex=SAID_FOR_S))
    except (RedisError, OSError, TimeoutError):
        return True
