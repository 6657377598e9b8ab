"""The check of one server in one role: asked once, within a few seconds, and judged by every rule."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, RedisError

from infrastructure.core.asyncio_core import within
from infrastructure.core.redis_check import durability, fitness
from infrastructure.core.redis_check.facts import Facts, gather
from infrastructure.core.redis_check.findings import Finding, Role, Status

ASK_S = 3.0


async def check_redis(redis: Redis, role: Role, *, sentinel: bool = False) -> list[Finding]:
    """Return what was found, `reachable` first; one that cannot be asked has nothing else. Nothing is written.

    `sentinel` says that the server was found by sentinels, so that one day another will be in its place.
    """
    try:
        facts = await within(gather(redis), ASK_S)
    except (RedisError, OSError, TimeoutError) as exc:
        return [_unreachable(exc, role)]
    return [
        Finding(id="reachable", status=Status.PASSED, found="it answers"),
        *judge(facts, role, sentinel=sentinel),
    ]


def judge(facts: Facts, role: Role, *, sentinel: bool = False) -> list[Finding]:
    """Return what the facts mean for a role; a pure function."""
    return [
        fitness.version(facts),
        fitness.mode(facts),
        durability.persistence(facts, role),
        durability.eviction(facts, role),
        durability.memory(facts, role),
        durability.replication(facts, role, sentinel=sentinel),
        fitness.connections(facts),
        fitness.notifications(facts),
        fitness.scripts(facts),
        fitness.latency(facts, role),
    ]


def _unreachable(exc: Exception, role: Role) -> Finding:
    stake = (
        "nothing is cached"
        if role is Role.CACHE
        else "no job is taken or run: the front door answers 503, workers wait"
    )
    if isinstance(exc, BusyLoadingError):
        return Finding(
            id="reachable",
            status=Status.WARNED,
            found="it is loading its data",
            stake=stake,
            mend="wait until it is done",
        )
    if isinstance(exc, (AuthenticationError, NoPermissionError)):
        found, mend = (
            "it refuses the user or the password, or forbids INFO",
            "correct the URL, or give the user +@all or at least +info",
        )
    elif isinstance(exc, TimeoutError):
        found, mend = f"no answer within {ASK_S:g} s", "start it, or correct the URL"
    else:
        found, mend = f"it cannot be asked: {type(exc).__name__}", "start it, or correct the URL"
    return Finding(id="reachable", status=Status.FAILED, found=found, stake=stake, mend=mend)
