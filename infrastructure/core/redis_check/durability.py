"""Rules about what a crash, a full memory or a failover takes with it."""

from __future__ import annotations

from typing import Any, Final

from infrastructure.core.redis_check.facts import Facts
from infrastructure.core.redis_check.findings import Finding, Role, Status

FULL: Final = 0.85
"""Share of `maxmemory` from which submits are refused (`workers.jobs.store.headroom`)."""
NEAR: Final = 0.70
_WITH_EVERYSEC = "a crash of Redis or its machine loses up to about a second of accepted jobs and results (each lost 202 breaks promise 1)"


def persistence(facts: Facts, role: Role) -> Finding:
    """Judge whether what was accepted is on disk."""
    if role is Role.CACHE:
        return Finding(id="persistence", status=Status.SKIPPED, found="a cache may be lost")
    on = facts.settings.get("appendonly") or ("yes" if facts.info.get("aof_enabled") else "no")
    if role is Role.BROKER:
        return Finding(
            id="persistence",
            status=Status.PASSED,
            found=f"appendonly {on}; messages are only doorbells, which are rung again",
        )
    if on != "yes":
        snapshots = facts.settings.get("save")
        kept = "everything since the last snapshot" if snapshots else "every job and result, unless a snapshot was made"
        return Finding(
            id="persistence", status=Status.FAILED, found="appendonly no",
            stake=f"a restart or crash of Redis loses {kept}", mend="CONFIG SET appendonly yes, appendfsync always, and the same in redis.conf",
        )  # fmt: skip
    if facts.info.get("aof_last_write_status", "ok") != "ok":
        return Finding(
            id="persistence", status=Status.FAILED, found="the append-only file could not be written",
            stake="Redis refuses every write, and loses what is not on disk when it ends", mend="make room on its disk; see its log",
        )  # fmt: skip
    return _fsync(facts)


def _fsync(facts: Facts) -> Finding:
    how = facts.settings.get("appendfsync")
    mend = "CONFIG SET appendfsync always, and the same in redis.conf"
    if how == "always":
        return Finding(
            id="persistence",
            status=Status.PASSED,
            found="appendonly yes, appendfsync always: nothing accepted is lost by a crash",
        )
    if how == "everysec":
        return Finding(
            id="persistence", status=Status.WARNED, found="appendfsync everysec", stake=_WITH_EVERYSEC, mend=mend
        )
    if how == "no":
        stake = "a crash of the machine loses what the system had not written: up to about 30 s of jobs and results"
        return Finding(id="persistence", status=Status.FAILED, found="appendfsync no", stake=stake, mend=mend)
    return Finding(
        id="persistence", status=Status.SKIPPED, found=f"appendonly yes, appendfsync unknown: {facts.untold}",
        stake=f"with everysec, the usual setting, {_WITH_EVERYSEC}", mend="see the provider's documentation for appendfsync",
    )  # fmt: skip


def eviction(facts: Facts, role: Role) -> Finding:
    """Judge whether keys may vanish when memory is short."""
    policy = facts.settings.get("maxmemory-policy") or facts.info.get("maxmemory_policy")
    if policy is None:
        return Finding(
            id="eviction", status=Status.SKIPPED, found=f"maxmemory-policy unknown: {facts.untold}",
            stake="with any policy but noeviction jobs vanish when memory is short" if role is not Role.CACHE else "",
        )  # fmt: skip
    if policy == "noeviction":
        if role is Role.CACHE:
            return Finding(
                id="eviction",
                status=Status.PASSED,
                found="maxmemory-policy noeviction: when memory is short nothing more is cached",
            )
        return Finding(id="eviction", status=Status.PASSED, found="maxmemory-policy noeviction")
    if role is Role.CACHE:
        return Finding(id="eviction", status=Status.PASSED, found=f"maxmemory-policy {policy}: a cache may be evicted")
    lost = (
        "queued jobs, results and idempotency claims"
        if role is Role.JOBS
        else "the bindings of the queues, and with them every message"
    )
    return Finding(
        id="eviction", status=Status.FAILED, found=f"maxmemory-policy {policy}",
        stake=f"when memory is short Redis deletes {lost}, silently",
        mend="CONFIG SET maxmemory-policy noeviction, and the same in redis.conf; only cache.redis_url may point to a server that evicts",
    )  # fmt: skip


def memory(facts: Facts, role: Role) -> Finding:
    """Judge the head-room."""
    used, limit = int(facts.info.get("used_memory", 0)), int(facts.info.get("maxmemory", 0))
    if limit == 0:
        return _without_limit(facts, role, used)
    share = used / limit
    found = f"{_mb(used)} of {_mb(limit)} in use ({share:.0%})"
    if role is Role.CACHE or share < NEAR:
        return Finding(id="memory", status=Status.PASSED, found=found)
    if share < FULL:
        return Finding(
            id="memory", status=Status.WARNED, found=found, stake=f"from {FULL:.0%} on every submit is refused with 503 store_full",
            mend="raise maxmemory, shorten jobs.result_ttl_s, or put the cache elsewhere (cache.redis_url)",
        )  # fmt: skip
    return Finding(
        id="memory", status=Status.FAILED, found=found, stake="submits are refused with 503 store_full now; what runs still ends",
        mend="raise maxmemory, shorten jobs.result_ttl_s, or put the cache elsewhere (cache.redis_url)",
    )  # fmt: skip


def _without_limit(facts: Facts, role: Role, used: int) -> Finding:
    whole = int(facts.info.get("total_system_memory", 0))
    found = f"no maxmemory is set; {_mb(used)} in use" + (f", the machine has {_mb(whole)}" if whole else "")
    return Finding(
        id="memory", status=Status.PASSED if role is Role.CACHE else Status.WARNED, found=found,
        stake="a queue that grows takes the machine's memory until the system kills Redis; with a limit submits are refused in good time",
        mend="CONFIG SET maxmemory to about three quarters of the machine's memory (a fork to rewrite the file needs the rest)",
    )  # fmt: skip


def replication(facts: Facts, role: Role, *, sentinel: bool) -> Finding:
    """Judge what a failover can lose."""
    if role is Role.CACHE:
        return Finding(id="replication", status=Status.SKIPPED, found="a cache may be lost")
    if facts.info.get("role") != "master":
        return Finding(
            id="replication", status=Status.FAILED, found="the server is a replica", stake="it refuses every write",
            mend="point the URL to the master, or to the sentinels: redis+sentinel://host:26379/0?master=NAME",
        )  # fmt: skip
    replicas = int(facts.info.get("connected_slaves", 0))
    if not sentinel and not replicas:
        return Finding(id="replication", status=Status.PASSED, found="a single server, no replica")
    needed = facts.number("min-replicas-to-write")
    found = f"{replicas} replica{'' if replicas == 1 else 's'}, min-replicas-to-write {needed if needed is not None else 'unknown'}"
    lag = "a failover loses what the replica had not received yet, usually some milliseconds of jobs and results"
    if needed:
        return Finding(
            id="replication", status=Status.PASSED, found=f"{found}: a master that is cut off takes no writes; {lag}"
        )
    return Finding(
        id="replication", status=Status.SKIPPED if needed is None else Status.WARNED, found=found,
        stake=f"{lag}; a master that is cut off goes on accepting jobs, all of which are lost when it comes back as a replica",
        mend="with two replicas or more: CONFIG SET min-replicas-to-write 1, min-replicas-max-lag 5 on every server, and in redis.conf",
    )  # fmt: skip


def _mb(size: Any) -> str:
    return f"{size / 1e6:,.0f} MB"
