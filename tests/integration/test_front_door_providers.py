"""What operators see of providers, and what everybody sees of costs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis
from fastapi import FastAPI

from api.app import create_app
from api.front import FrontDoor
from api.reference.provider_schemas import CostTable, ProviderHealthList, ProviderList
from infrastructure.core.config_core import load
from tests.support.front_door import SANDBOX
from tests.support.gates import Twin, redis_twin
from tests.support.waiting import eventually
from workers import queues
from workers.jobs.gate.models import Verdict
from workers.jobs.health import Health, HealthStore, Standing
from workers.jobs.prices import PriceBoard, TokenPrice

pytestmark = pytest.mark.anyio
NAME, MODEL = "sandbox", "sandbox-small"


@pytest.fixture
async def app(redis_url: str, tmp_path: Path) -> FastAPI:
    environment = {
        "REDIS_URL": redis_url, "AI_PROVIDER_DATA_DIR": str(tmp_path), "AI_PROVIDER_SANDBOX_URL": SANDBOX,
    }  # fmt: skip
    return create_app(load(environment).settings)


@pytest.fixture
def front(app: FastAPI) -> FrontDoor:
    front: FrontDoor = app.state.front
    return front


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


@pytest.fixture
def twin(redis: aioredis.Redis) -> Twin:
    return redis_twin(redis)


def at(model: str = MODEL, **more: Any) -> dict[str, Any]:
    return {"provider": NAME, "model": model, **more}


async def shown(client: httpx.AsyncClient, name: str = NAME) -> dict[str, Any]:
    answer = await client.get("/api/v1/providers")
    assert answer.status_code == 200
    ProviderList.model_validate(answer.json())
    return next(one for one in answer.json()["data"] if one["name"] == name)


async def test_every_configured_provider_is_listed_with_why_it_is_not_in_use(client: httpx.AsyncClient) -> None:
    openai, sandbox = await shown(client, "openai"), await shown(client)
    assert (openai["in_use"], openai["unused_because"]) == (False, "no key: set OPENAI_API_KEY")
    assert (sandbox["in_use"], sandbox["unused_because"], sandbox["kind"]) == (True, None, "openai")
    assert sandbox["health"]["status"] == "unknown"
    assert {model["breaker"] for model in sandbox["models"]} == {"closed"}


async def test_a_model_shows_its_score_in_parts_its_window_and_its_price(
    client: httpx.AsyncClient, twin: Twin, redis: aioredis.Redis
) -> None:
    await PriceBoard(redis, prefix="aip").tell({(NAME, "other"): TokenPrice(1e-6, 2e-6), (NAME, "free"): None})
    await twin.several(3, begin=at("other"), latency_ms=200)
    await twin.call(Verdict.FAILED, outcome="provider_unavailable", begin=at("other"))
    await twin.begin(**at("other"))
    await twin.call(begin=at("free"))
    models = {model["model"]: model for model in (await shown(client))["models"]}
    other = models["other"]
    assert other["window"] == {"calls": 4, "failures": 1}
    assert (other["in_flight"], other["latency_ms"], other["last_error"]) == (1, 200, "provider_unavailable")
    assert (other["price"], models["free"]["price"]) == ({"input": 1.0, "output": 2.0}, None)
    parts = other["score_parts"]
    assert parts["price_usd"] == pytest.approx(1_000 * 1e-6 + 256 * 2e-6)
    expected = (parts["price_usd"] + parts["waiting_usd"]) * (1 + parts["throttle"]) / parts["success"]
    assert other["score"] == pytest.approx(expected, rel=1e-3)
    assert other["heard_ago_s"] >= 0


async def test_open_breakers_tell_why_and_when_one_call_may_try(client: httpx.AsyncClient, twin: Twin) -> None:
    await twin.several(5, Verdict.FAILED, outcome="provider_timeout", begin=at())
    (model,) = [one for one in (await shown(client))["models"] if one["model"] == MODEL]
    assert (model["breaker"], model["account"], model["reason"]) == ("open", "closed", "provider_timeout")
    assert 0 < model["next_probe_s"] <= 12
    await twin.gate.down(NAME, "provider_unavailable")
    account = (await shown(client))["account"]
    assert (account["breaker"], account["reason"]) == ("open", "provider_unavailable")
    assert 0 < account["next_probe_s"] <= 12


async def test_health_is_served_from_the_last_check_and_a_stale_one_asks_for_another(
    client: httpx.AsyncClient, front: FrontDoor, redis: aioredis.Redis
) -> None:
    async def asked() -> dict[str, Any]:
        answer = await client.get("/api/v1/providers/health")
        ProviderHealthList.model_validate(answer.json())
        body: dict[str, Any] = answer.json()
        return body

    before = await asked()
    assert before["fresh"] is False
    assert {one["status"] for one in before["data"]} == {"unknown"}
    for _ in range(5):
        await asked()
    await eventually(lambda: redis.llen(f"aip:mq:{queues.UPKEEP}"))
    assert await redis.llen(f"aip:mq:{queues.UPKEEP}") == 1

    store = HealthStore(redis, prefix="aip")
    await store.begin_round("t", within_ms=5_000)
    names = list(front.settings.in_use())
    await store.write("t", [Health(provider=name, status=Standing.DOWN, reason="provider_timeout") for name in names])
    after = await asked()
    assert after["fresh"] is True
    assert {(one["status"], one["reason"]) for one in after["data"]} == {("down", "provider_timeout")}
    operations = front.observation.tracker.get_summary()["operations"]
    assert operations["health_cache_hit"]["count"] >= 1
    assert operations["health_cache_miss"]["count"] >= 6


async def test_costs_add_up_and_leave_the_unknown_unknown(client: httpx.AsyncClient, twin: Twin) -> None:
    await twin.call(begin=at(), cost_usd=0.25)
    await twin.call(begin=at(), cost_usd=None)
    await twin.call(begin=at("b", tenant="blue"), cost_usd=None)
    await twin.call(begin=at("b", probe=True), cost_usd=0.5)
    answer = await client.get("/api/v1/costs", params={"by": "model"})
    CostTable.model_validate(answer.json())
    table = answer.json()
    rows = {row["model"]: row for row in table["data"]}
    assert (rows[f"{NAME}/{MODEL}"]["cost_usd"], rows[f"{NAME}/{MODEL}"]["unpriced"]) == (0.25, 1)
    assert (rows[f"{NAME}/b"]["cost_usd"], rows[f"{NAME}/b"]["calls"]) == (None, 1)
    assert (table["totals"]["calls"], table["totals"]["cost_usd"]) == (3, 0.25)
    assert (table["probes"]["calls"], table["probes"]["cost_usd"]) == (1, 0.5)


async def test_tenants_see_their_own_costs_and_nothing_of_providers(
    client: httpx.AsyncClient, front: FrontDoor, twin: Twin
) -> None:
    key = {"Authorization": f"Bearer {await front.keys.create('acme')}"}
    await twin.call(begin=at(tenant="acme"))
    await twin.call(begin=at(tenant="blue"))
    await twin.call(begin=at(probe=True))

    async def known() -> bool:
        return (await client.get("/api/v1/costs", headers=key)).status_code == 200

    await eventually(known)
    table = (await client.get("/api/v1/costs", params={"by": "tenant"}, headers=key)).json()
    assert [row["tenant"] for row in table["data"]] == ["acme"]
    assert "probes" not in table
    for route in ("/api/v1/providers", "/api/v1/providers/health"):
        assert (await client.get(route, headers=key)).status_code == 403


@pytest.mark.parametrize("wrong", [{"days": "0"}, {"days": "91"}, {"days": "x"}, {"by": "colour"}])
async def test_a_wrong_parameter_is_a_problem_that_names_it(client: httpx.AsyncClient, wrong: dict[str, str]) -> None:
    answer = await client.get("/api/v1/costs", params=wrong)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["field"] in wrong


async def test_names_that_callers_made_up_are_shown_up_to_a_bound_and_counted_beyond(
    client: httpx.AsyncClient, twin: Twin
) -> None:
    for number in range(53):
        await twin.call(begin=at(f"made-up-{number}"))
    provider = await shown(client)
    configured = {"sandbox-small", "sandbox-large"}
    assert configured <= {model["model"] for model in provider["models"]}
    assert len({model["model"] for model in provider["models"]} - configured) == 50
    assert provider["models_left_out"] == 3
