"""Rules about whether a server can be used at all, and whether its connections hold."""

from __future__ import annotations

from typing import Final

from infrastructure.core.redis_check.facts import Facts
from infrastructure.core.redis_check.findings import Finding, Role, Status

OLDEST: Final = (6, 2)
PATIENCE_S: Final = 30
"""Clients look after an idle connection this often at least (`HEALTH_CHECK_S`, rounded up)."""
SLOW_MS, TOO_SLOW_MS = 5.0, 50.0
LONGEST_SCRIPT_MS = 1_000


def version(facts: Facts) -> Finding:
    """Judge the version; Valkey reports the Redis that it is compatible with."""
    told = str(facts.info.get("redis_version", ""))
    name = (
        f"Valkey {facts.info['valkey_version']} (as Redis {told})"
        if "valkey_version" in facts.info
        else f"Redis {told}"
    )
    try:
        enough = tuple(int(part) for part in told.split(".")[:2]) >= OLDEST
    except ValueError:
        return Finding(
            id="version", status=Status.SKIPPED, found=f"a server of unknown version: {told or 'it tells none'}"
        )
    if enough:
        return Finding(id="version", status=Status.PASSED, found=name)
    return Finding(
        id="version", status=Status.FAILED, found=name, stake="scripts and the broker use commands of 6.2: jobs fail",
        mend="use Redis 6.2 or later, or Valkey",
    )  # fmt: skip


def mode(facts: Facts) -> Finding:
    """Judge the mode: scripts touch keys of many slots, and Celery's broker does not know clusters."""
    found = str(facts.info.get("redis_mode") or facts.info.get("server_mode") or "unknown")
    if facts.info.get("cluster_enabled") or found == "cluster":
        return Finding(
            id="mode", status=Status.FAILED, found="cluster mode", stake="scripts and the broker cannot work across slots: nothing runs",
            mend="use a single server, or a master with replicas behind Sentinel",
        )  # fmt: skip
    if found == "sentinel":
        return Finding(
            id="mode", status=Status.FAILED, found="the address is a sentinel's", stake="it keeps no data: nothing runs",
            mend="write it as redis+sentinel://host:26379/0?master=NAME",
        )  # fmt: skip
    return Finding(id="mode", status=Status.PASSED, found=found)


def connections(facts: Facts) -> Finding:
    """Judge whether the server ends connections that are merely idle, and finds out about dead ones."""
    timeout, keepalive = facts.number("timeout"), facts.number("tcp-keepalive")
    if timeout is None or keepalive is None:
        return Finding(
            id="connections", status=Status.SKIPPED, found=f"timeout and tcp-keepalive unknown: {facts.untold}"
        )
    found = f"timeout {timeout}, tcp-keepalive {keepalive}"
    if 0 < timeout <= PATIENCE_S:
        return Finding(
            id="connections", status=Status.WARNED, found=found, stake="idle connections are ended under us: reconnects, now and then a late answer",
            mend=f"CONFIG SET timeout 0 (or above {PATIENCE_S}), and the same in redis.conf",
        )  # fmt: skip
    if keepalive == 0:
        return Finding(
            id="connections", status=Status.WARNED, found=found, stake="connections of machines that vanished are kept for ever, up to maxclients",
            mend="CONFIG SET tcp-keepalive 300, and the same in redis.conf",
        )  # fmt: skip
    return Finding(id="connections", status=Status.PASSED, found=found)


def notifications(facts: Facts) -> Finding:
    """Judge keyspace notifications: nobody here hears them."""
    events = facts.settings.get("notify-keyspace-events")
    if events is None:
        return Finding(
            id="notifications", status=Status.SKIPPED, found=f"notify-keyspace-events unknown: {facts.untold}"
        )
    if events == "":
        return Finding(id="notifications", status=Status.PASSED, found="off")
    return Finding(
        id="notifications", status=Status.WARNED, found=f"notify-keyspace-events {events}",
        stake="each write is published too, for nobody of this service: some per cent of throughput",
        mend='CONFIG SET notify-keyspace-events "", unless another program needs them',
    )  # fmt: skip


def scripts(facts: Facts) -> Finding:
    """Judge the limit after which a script that runs makes the server answer BUSY."""
    limit_ms = facts.number("busy-reply-threshold")
    limit_ms = facts.number("lua-time-limit") if limit_ms is None else limit_ms
    if limit_ms is None:
        return Finding(id="scripts", status=Status.SKIPPED, found=f"lua-time-limit unknown: {facts.untold}")
    if 0 < limit_ms < LONGEST_SCRIPT_MS:
        return Finding(
            id="scripts", status=Status.WARNED, found=f"lua-time-limit {limit_ms} ms",
            stake="on a busy machine a script may take longer, and callers are then refused with 503", mend="CONFIG SET lua-time-limit 5000",
        )  # fmt: skip
    return Finding(id="scripts", status=Status.PASSED, found=f"lua-time-limit {limit_ms} ms")


def latency(facts: Facts, role: Role) -> Finding:
    """Judge a round trip: a job takes about ten."""
    found = f"a round trip takes {facts.round_trip_ms:.2f} ms"
    if facts.round_trip_ms < SLOW_MS or role is Role.CACHE:
        return Finding(id="latency", status=Status.PASSED, found=found)
    status = Status.WARNED if facts.round_trip_ms < TOO_SLOW_MS else Status.FAILED
    return Finding(
        id="latency", status=status, found=found, stake="submits and claims wait for it, several times each; throughput falls with it",
        mend="run the service beside its Redis, in one zone",
    )  # fmt: skip
