"""The prober against providers over HTTP: through the fleet's gate, one prober at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import redis as sync_redis
import redis.asyncio as aioredis

from infrastructure.core.config_core import Settings
from infrastructure.core.config_core.sections import Breakers, Health
from infrastructure.core.logger_core import get_logger
from infrastructure.core.performance_core import get_performance_tracker
from tests.support.gates import redis_gate
from tests.support.jobs import PREFIX, audit
from tests.support.logs import caught_log
from tests.support.machine import in_time
from tests.support.providers import StartManager, account, call, requests, settings_of
from tests.support.sandbox import SandboxProcess
from workers.jobs.gate.costs import PROBES, costs
from workers.jobs.gate.fleet_gate import FleetGate
from workers.jobs.gate.local_gate import LocalGate
from workers.jobs.gate.models import Breaker
from workers.jobs.health import HealthStore, Standing
from workers.providers.health.generating import Generator
from workers.providers.health.prober import Prober
from workers.providers.litellm_manager import CompletionFailed, LiteLLMManager, PutBack

pytestmark = pytest.mark.anyio
DEAD: dict[str, Any] = {"match": {}, "action": {"status": 503}}
LOG = get_logger("ai-provider", "test")


@dataclass
class Events:
    """A publisher that keeps what it is told."""

    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def publish(self, topic: str, data: Mapping[str, Any] | None = None) -> None:
        """Keep an event."""
        self.told.append((topic, dict(data or {})))


@dataclass
class Ward:
    """A prober with what it is made of."""

    prober: Prober
    manager: LiteLLMManager
    settings: Settings
    store: HealthStore
    gate: FleetGate
    events: Events

    async def standing(self, name: str) -> Standing:
        """Return what is known of a provider's health."""
        return (await self.store.read([name]))[name].status

    async def round_later(self, redis: aioredis.Redis) -> dict[str, Any]:
        """Make a round when what is known has become stale."""
        for key in [key async for key in redis.scan_iter(f"{PREFIX}:health:*")]:
            await redis.set(key, orjson.dumps({**orjson.loads(await redis.get(key) or b""), "checked_ms": 1}))
        return await self.prober.round(self.settings)


StartWard = Callable[[Settings], Awaitable[Ward]]


@pytest.fixture
async def start_ward(redis: aioredis.Redis, start_manager: StartManager) -> AsyncIterator[StartWard]:
    gates: list[FleetGate] = []

    async def started(settings: Settings) -> Ward:
        events = Events()
        shared = redis_gate(redis, owner=f"w{len(gates)}", breakers=lambda: settings.breakers, turned=False)
        gates.append(gate := FleetGate(shared, LocalGate(), log=LOG))
        manager = await start_manager(settings, gate=gate)
        tracker = get_performance_tracker("ai-provider")
        store = HealthStore(redis, prefix=PREFIX)
        prober = Prober(
            store=store,
            gate=gate,
            generate=Generator(manager, load=manager.start, settings=lambda: settings, tracker=tracker),
            down=gate.down,
            events=events,
            tracker=tracker,
            log=LOG,
        )
        return Ward(prober, manager, settings, store, gate, events)

    yield started
    for gate in gates:
        await gate.close()


def settings_over(sandbox: SandboxProcess, *names: str, probe_s: float = 0.05, **health: float) -> Settings:
    """Return settings of providers in the sandbox whose breakers are tried again soon."""
    settings = settings_of(**{name: account(sandbox, name) for name in names})
    parts = {"breakers": Breakers(probe_s=probe_s, max_pause_s=60), "health": Health(**{"timeout_s": 20.0, **health})}
    return settings.model_copy(update=parts)


def fault(sandbox: SandboxProcess, name: str, **match: str) -> None:
    sandbox.set_faults({"match": {"instance": name, **match}, "action": {"status": 503}})


async def test_what_can_be_reached_is_healthy_and_is_not_asked_again_while_that_is_fresh(
    sandbox: SandboxProcess, start_ward: StartWard, redis_url: str
) -> None:
    ward = await start_ward(settings_over(sandbox, "well"))
    with caught_log() as log:
        assert await ward.prober.round(ward.settings) == {"status": "checked", "providers": 1}
    assert await ward.prober.round(ward.settings) == {"status": "fresh"}
    assert sandbox.counters()["by_path"] == {"/v1/models": 1}
    assert await ward.standing("well") is Standing.HEALTHY
    line = next(one for one in log.lines if one["message"] == "Provider health check completed")
    assert set(line["context"]) == {"provider", "status", "response_time_ms", "success_rate"}
    assert (line["context"]["provider"], line["context"]["status"]) == ("well", "healthy")
    assert ward.events.told == [
        ("provider.health", {"provider": "well", "before": "unknown", "status": "healthy", "reason": ""})
    ]
    with sync_redis.Redis.from_url(redis_url) as client:
        assert audit(client) == []


async def test_a_provider_that_is_found_down_is_called_by_no_job_until_it_generates_again(
    sandbox: SandboxProcess, start_ward: StartWard, redis: aioredis.Redis
) -> None:
    ward = await start_ward(settings_over(sandbox, "gone", probe_s=10))
    fault(sandbox, "gone", path="/v1/models")  # completions would do
    await ward.prober.round(ward.settings)
    assert await ward.standing("gone") is Standing.DOWN
    with pytest.raises(PutBack):
        await ward.manager.completion(call("Anybody?", within_s=60))
    assert sandbox.counters()["by_path"] == {"/v1/models": 1}

    sandbox.set_faults()
    await redis.hset(f"{PREFIX}:breaker:gone", "next", "1")  # its pause is over
    await ward.round_later(redis)
    assert await ward.standing("gone") is Standing.HEALTHY
    answer = await ward.manager.completion(call("Anybody?"))
    assert [one.breaker for one in answer.attempts] == ["closed"]
    assert requests(sandbox, "gone") == 4  # twice its list, one probe, one job
    (row,) = [one for one in await costs(redis, PREFIX) if one.tenant == PROBES]
    assert (row.provider, row.calls, row.failed) == ("gone", 1, 0)
    assert [data["status"] for topic, data in ward.events.told if topic == "provider.health"] == ["down", "healthy"]


async def test_what_can_be_reached_again_stays_down_until_it_generates(
    sandbox: SandboxProcess, start_ward: StartWard, redis: aioredis.Redis
) -> None:
    ward = await start_ward(settings_over(sandbox, "p", probe_s=10))
    fault(sandbox, "p")
    await ward.prober.round(ward.settings)
    sandbox.set_faults()
    await ward.round_later(redis)  # the pause of its breaker is not over
    assert await ward.standing("p") is Standing.DOWN
    assert sandbox.counters()["by_path"] == {"/v1/models": 2}


async def test_an_open_breaker_is_closed_by_the_prober_without_any_job(
    sandbox: SandboxProcess, start_ward: StartWard, redis: aioredis.Redis
) -> None:
    ward = await start_ward(settings_over(sandbox, "p"))
    sandbox.set_faults({"match": {"instance": "p"}, "action": {"status": 401}})
    with pytest.raises((CompletionFailed, PutBack)):
        await ward.manager.completion(call("Who?", within_s=1))
    (state,) = await ward.gate.states()
    assert state.account is Breaker.OPEN
    sandbox.set_faults()
    deadline = time.monotonic() + 10
    while (await ward.gate.states())[0].account is not Breaker.CLOSED:
        assert time.monotonic() < deadline
        await ward.prober.round(ward.settings)
    assert (await ward.store.read(["p"]))["p"].generates is True
    assert await ward.standing("p") is Standing.HEALTHY


async def test_of_many_probers_one_checks(
    sandbox: SandboxProcess, start_ward: StartWard, redis: aioredis.Redis
) -> None:
    settings = settings_over(sandbox, "a", "b")
    wards = [await start_ward(settings) for _ in range(8)]
    sandbox.set_faults({"match": {"path": "/v1/models"}, "action": {"latency_s": 0.3}})
    found = await asyncio.gather(*(ward.prober.round(settings) for ward in wards))
    assert sorted(one["status"] for one in found) == ["another_probes"] * 7 + ["checked"]
    assert sandbox.counters()["by_path"] == {"/v1/models": 2}


async def test_a_dead_probers_round_runs_out(
    sandbox: SandboxProcess, start_ward: StartWard, redis: aioredis.Redis
) -> None:
    ward = await start_ward(settings_over(sandbox, "p"))
    assert await ward.store.begin_round("dead", within_ms=300)
    assert await ward.prober.round(ward.settings) == {"status": "another_probes"}
    deadline = time.monotonic() + 10
    while (await ward.prober.round(ward.settings))["status"] != "checked":
        assert time.monotonic() < deadline
    assert await ward.standing("p") is Standing.HEALTHY


async def test_providers_are_checked_at_the_same_time(
    sandbox: SandboxProcess, start_ward: StartWard, redis: aioredis.Redis
) -> None:
    ward = await start_ward(settings_over(sandbox, "a", "b", "c", "d"))
    sandbox.set_faults({"match": {"path": "/v1/models"}, "action": {"latency_s": 0.5}})
    began = time.monotonic()
    assert (await ward.prober.round(ward.settings))["providers"] == 4
    assert (took_s := time.monotonic() - began) >= 0.5
    assert in_time(took_s, 1.5)


async def test_one_that_hangs_holds_up_nobody_for_longer_than_a_check_may_take(
    sandbox: SandboxProcess, start_ward: StartWard, redis: aioredis.Redis
) -> None:
    ward = await start_ward(settings_over(sandbox, "hung", "well", timeout_s=0.5))
    sandbox.set_faults({"match": {"instance": "hung"}, "action": {"hang": True}})
    await ward.prober.round(ward.settings)
    found = await ward.store.read(["hung", "well"])
    assert (found["hung"].status, found["hung"].reason) == (Standing.DOWN, "provider_timeout")
    assert found["well"].status is Standing.HEALTHY


async def test_what_answers_jobs_and_has_no_list_is_degraded_not_down(
    sandbox: SandboxProcess, start_ward: StartWard, redis: aioredis.Redis
) -> None:
    ward = await start_ward(settings_over(sandbox, "p"))
    await ward.manager.completion(call("There?"))
    fault(sandbox, "p", path="/v1/models")
    await ward.prober.round(ward.settings)
    assert await ward.standing("p") is Standing.DEGRADED
    assert await ward.manager.completion(call("Still there?"))
