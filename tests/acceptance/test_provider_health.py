"""Providers are watched without any job: upkeep and beat find one down and its return, and everybody is told."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.support.waiting import wait_for
from tests.support.wall import Given, Wall


def asked(wall: Wall, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{wall.url}{path}", timeout=10) as answer:
        body: dict[str, Any] = json.loads(answer.read())
    return body


def standing(wall: Wall) -> dict[str, str]:
    return {one["provider"]: one["status"] for one in asked(wall, "/api/v1/providers/health")["data"]}


def brought(wall: Wall) -> list[str | None]:
    """Return what the service tells of its checks: how many ran at once, and how many questions needed none."""
    told = asked(wall, "/api/v1/infrastructure/metrics")["performance"]["optimizations"]
    cached, together = told["health_check_caching"], told["concurrent_health_checks"]
    return (
        [together["concurrency_level"], cached["cache_hit_rate"]] if cached["enabled"] and together["enabled"] else []
    )


def test_an_idle_service_finds_a_provider_down_and_its_return() -> None:
    settings = {"health": {"interval_s": 5, "timeout_s": 2}, "breakers": {"probe_s": 2}}
    with Wall(providers=[Given(name="p1"), Given(name="p2")], settings=settings) as wall:
        wall.start_upkeep()
        wall.start_web()
        wait_for(lambda: standing(wall) == {"p1": "healthy", "p2": "healthy"}, within_s=60, what="both are well")
        wall.profile("p1", port="closed")
        wait_for(lambda: standing(wall)["p1"] == "down", within_s=30, what="p1 is found down")
        (one,) = [one for one in asked(wall, "/api/v1/providers")["data"] if one["name"] == "p1"]
        assert (one["account"]["breaker"], one["account"]["reason"]) == ("open", "provider_unavailable")
        assert standing(wall)["p2"] == "healthy"

        wall.profile("p1", port="open")
        wait_for(lambda: standing(wall)["p1"] == "healthy", within_s=60, what="p1 is found well")
        assert wall.probes("p1") >= 1
        for topic, least in {"provider.health": 3, "provider.breaker": 1}.items():
            assert len(asked(wall, f"/api/v1/events?topic={topic}")["data"]) >= least, topic
        totals = asked(wall, "/api/v1/costs")
        assert totals["totals"]["calls"] == 0
        assert totals["probes"]["calls"] >= 1
        at_once, spared = wait_for(lambda: brought(wall), what="the figures of upkeep's checks")
        assert at_once == "2 providers"
        assert spared is not None
