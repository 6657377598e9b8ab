"""Every rule about a Redis, in every role: what it finds, what is at stake, how to mend it."""

from __future__ import annotations

from typing import Any

import pytest

from infrastructure.core.config_core import Settings
from infrastructure.core.redis_check.advice import refusals
from infrastructure.core.redis_check.checking import judge
from infrastructure.core.redis_check.facts import Facts
from infrastructure.core.redis_check.findings import Finding, Role, Status
from infrastructure.core.redis_check.roles import Server, servers

INFO: dict[str, Any] = {
    "redis_version": "7.2.4", "redis_mode": "standalone", "role": "master", "connected_slaves": 0, "aof_enabled": 1,
    "used_memory": 10_000_000, "maxmemory": 100_000_000, "maxmemory_policy": "noeviction", "total_system_memory": 10**9,
}  # fmt: skip
GOOD = {
    "appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "min-replicas-to-write": "0",
    "timeout": "0", "tcp-keepalive": "300", "notify-keyspace-events": "", "lua-time-limit": "5000", "save": "",
}  # fmt: skip
PASSED, WARNED, FAILED, SKIPPED = Status.PASSED, Status.WARNED, Status.FAILED, Status.SKIPPED
JOBS, BROKER, CACHE = Role.JOBS, Role.BROKER, Role.CACHE


def found(
    name: str, role: Role = JOBS, *, info: dict[str, Any] | None = None, settings: dict[str, str] | None = None,
    round_trip_ms: float = 0.2, sentinel: bool = False,
) -> Finding:  # fmt: skip
    facts = Facts(info={**INFO, **(info or {})}, settings={**GOOD, **(settings or {})}, round_trip_ms=round_trip_ms)
    return next(one for one in judge(facts, role, sentinel=sentinel) if one.id == name)


@pytest.mark.parametrize("role", Role)
def test_a_server_set_up_as_documented_passes_every_rule(role: Role) -> None:
    facts = Facts(info=INFO, settings=GOOD, round_trip_ms=0.2)
    assert {one.status for one in judge(facts, role)} <= {PASSED, SKIPPED}


@pytest.mark.parametrize(
    ("name", "role", "server", "status", "word"),
    [
        ("persistence", JOBS, ({}, {"appendonly": "no"}), FAILED, "loses every job"),
        ("persistence", JOBS, ({}, {"appendonly": "no", "save": "3600 1"}), FAILED, "since the last snapshot"),
        ("persistence", JOBS, ({}, {"appendfsync": "everysec"}), WARNED, "about a second"),
        ("persistence", JOBS, ({}, {"appendfsync": "no"}), FAILED, "30 s"),
        ("persistence", JOBS, ({"aof_last_write_status": "err"}, {}), FAILED, "refuses every write"),
        ("persistence", BROKER, ({}, {"appendonly": "no"}), PASSED, ""),
        ("persistence", CACHE, ({}, {"appendonly": "no"}), SKIPPED, ""),
        ("eviction", JOBS, ({}, {"maxmemory-policy": "allkeys-lru"}), FAILED, "queued jobs"),
        ("eviction", BROKER, ({}, {"maxmemory-policy": "volatile-ttl"}), FAILED, "bindings"),
        ("eviction", CACHE, ({}, {"maxmemory-policy": "allkeys-lru"}), PASSED, ""),
        ("memory", JOBS, ({"maxmemory": 0}, {}), WARNED, "kills Redis"),
        ("memory", JOBS, ({"used_memory": 72_000_000}, {}), WARNED, "store_full"),
        ("memory", JOBS, ({"used_memory": 86_000_000}, {}), FAILED, "now"),
        ("memory", CACHE, ({"used_memory": 99_000_000}, {}), PASSED, ""),
        ("version", JOBS, ({"redis_version": "6.0.16"}, {}), FAILED, "6.2"),
        ("version", JOBS, ({"redis_version": "6.2.0"}, {}), PASSED, ""),
        ("version", JOBS, ({"valkey_version": "9.1.2"}, {}), PASSED, ""),
        ("version", JOBS, ({"redis_version": "unstable"}, {}), SKIPPED, ""),
        ("mode", JOBS, ({"redis_mode": "cluster"}, {}), FAILED, "slots"),
        ("mode", JOBS, ({"cluster_enabled": 1}, {}), FAILED, "slots"),
        ("mode", JOBS, ({"redis_mode": "sentinel"}, {}), FAILED, "no data"),
        ("replication", JOBS, ({"role": "slave"}, {}), FAILED, "refuses every write"),
        ("replication", JOBS, ({"connected_slaves": 1}, {}), WARNED, "cut off"),
        ("replication", JOBS, ({"connected_slaves": 1}, {"min-replicas-to-write": "1"}), PASSED, ""),
        ("connections", JOBS, ({}, {"timeout": "20"}), WARNED, "idle"),
        ("connections", JOBS, ({}, {"timeout": "60"}), PASSED, ""),
        ("connections", JOBS, ({}, {"tcp-keepalive": "0"}), WARNED, "vanished"),
        ("notifications", JOBS, ({}, {"notify-keyspace-events": "AKE"}), WARNED, "throughput"),
        ("scripts", JOBS, ({}, {"lua-time-limit": "100"}), WARNED, "503"),
        ("scripts", JOBS, ({}, {"busy-reply-threshold": "100"}), WARNED, "503"),
    ],
)  # fmt: skip
def test_each_rule_judges_by_the_role_and_says_what_is_at_stake(
    name: str, role: Role, server: tuple[dict[str, Any], dict[str, str]], status: Status, word: str
) -> None:
    one = found(name, role, info=server[0], settings=server[1])

    assert one.status is status
    assert word in one.stake + one.mend
    assert one.found
    assert bool(one.stake and one.mend) == (status in {WARNED, FAILED})


@pytest.mark.parametrize(("round_trip_ms", "status"), [(0.1, PASSED), (12.0, WARNED), (80.0, FAILED)])
def test_a_slow_server_is_told(round_trip_ms: float, status: Status) -> None:
    assert found("latency", round_trip_ms=round_trip_ms).status is status


def test_behind_sentinels_a_lone_master_is_no_single_server() -> None:
    assert found("replication").status is PASSED
    assert found("replication", sentinel=True).status is WARNED


@pytest.mark.parametrize("role", [JOBS, BROKER])
def test_a_server_that_forbids_config_is_judged_by_info_and_the_rest_is_unknown_with_the_reason(role: Role) -> None:
    facts = Facts(info={**INFO, "connected_slaves": 1}, untold="the user may not ask CONFIG GET", round_trip_ms=0.2)
    by_id = {one.id: one for one in judge(facts, role)}

    assert by_id["eviction"].status is PASSED
    assert by_id["memory"].status is PASSED
    assert by_id["replication"].status is SKIPPED
    unknown = [by_id["connections"], by_id["scripts"], by_id["notifications"]]
    unknown += [by_id["persistence"]] if role is JOBS else []
    assert {one.status for one in unknown} == {SKIPPED}
    assert all("may not ask CONFIG GET" in one.found for one in unknown)


def test_only_what_can_never_do_is_refused() -> None:
    server = Server(url="redis://one", roles=(JOBS,))
    cluster = judge(Facts(info={**INFO, "redis_mode": "cluster"}, settings=GOOD), JOBS)
    weak = judge(Facts(info=INFO, settings={**GOOD, "appendonly": "no"}), JOBS)

    assert "cluster mode" in refusals(cluster, server)[0]
    assert refusals(weak, server) == []


def test_each_server_is_judged_once_by_its_strictest_role() -> None:
    def of(**urls: str) -> list[tuple[Role, ...]]:
        redis = {name: url for name, url in urls.items() if name != "cache"}
        cache = {"redis_url": urls["cache"]} if "cache" in urls else {}
        return [server.roles for server in servers(Settings.model_validate({"redis": redis, "cache": cache}))]

    assert of() == []
    assert of(url="redis://a") == [(JOBS, BROKER, CACHE)]
    assert of(url="redis://a", broker_url="redis://b", cache="redis://c") == [(JOBS,), (BROKER,), (CACHE,)]
    assert of(url="redis://a", broker_url="redis://b", cache="redis://b") == [(JOBS,), (BROKER, CACHE)]
