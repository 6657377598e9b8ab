"""The front door with a full queue: who is turned away, how, and that repeats are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.front import FrontDoor
from infrastructure.core.config_core import load
from tests.support.front_door import BODY, SANDBOX, complete_next
from tests.support.waiting import eventually
from workers.jobs.room import Room, limits_of

pytestmark = pytest.mark.anyio
LIMITS = {
    "AI_PROVIDER_LIMITS_QUEUED_PER_TENANT": "4",
    "AI_PROVIDER_LIMITS_QUEUED": "10",
    "AI_PROVIDER_LIMITS_HIGH_RESERVE": "0.3",
}
HIGH = {**BODY, "priority": "high"}


@pytest.fixture
def app(redis_url: str, tmp_path: Path) -> FastAPI:
    variables = {"REDIS_URL": redis_url, "AI_PROVIDER_DATA_DIR": str(tmp_path), "AI_PROVIDER_SANDBOX_URL": SANDBOX}
    return create_app(load({**variables, **LIMITS}).settings)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with app.router.lifespan_context(app):
        await eventually(lambda: app.state.front.waiters.listening)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


@pytest.fixture
def front(app: FastAPI) -> FrontDoor:
    front: FrontDoor = app.state.front
    return front


async def submit(client: httpx.AsyncClient, body: Any = BODY, **headers: str) -> httpx.Response:
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post("/api/v1/completion", json=body, headers=spelled)


async def bearer(front: FrontDoor, tenant: str, *, queued: int | None = None) -> dict[str, str]:
    return {"Authorization": f"Bearer {await front.keys.create(tenant, queued=queued)}"}


def told(response: httpx.Response, status: int, code: str) -> int:
    """Check a refusal, and return its Retry-After."""
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["detail"].startswith("expected ")
    return int(response.headers["retry-after"])


async def test_a_tenant_is_told_how_much_room_it_has_and_when_there_is_none(
    client: httpx.AsyncClient, front: FrontDoor
) -> None:
    taken = [await submit(client) for _ in range(4)]
    assert {response.status_code for response in taken} == {202}
    assert [response.headers["ratelimit"] for response in taken] == [f'"tenant";r={left}' for left in (3, 2, 1, 0)]
    assert {response.headers["ratelimit-policy"] for response in taken} == {'"tenant";q=4;qu="concurrent-requests"'}
    for _ in range(3):  # the first by the script that writes, the others by the look before
        refused = await submit(client)
        wait_s = told(refused, 429, "tenant_queue_full")
        assert 1 <= wait_s <= 60
        assert refused.headers["ratelimit"] == f'"tenant";r=0;t={wait_s}'
    await complete_next(front.store)
    assert (await submit(client)).status_code == 202
    assert (await client.get("/api/v1/jobs")).json()["data"][4:]
    summary = (await client.get("/api/v1/infrastructure/metrics")).json()["performance"]["operations"]
    assert summary["rejected.tenant_queue_full"]["count"] == 3


async def test_who_cannot_get_in_is_turned_away_before_the_body_is_read(client: httpx.AsyncClient) -> None:
    for _ in range(5):
        await submit(client)
    json_type = {"Content-Type": "application/json"}
    unread = await client.post("/api/v1/completion", content=b"{not json", headers=json_type)
    told(unread, 429, "tenant_queue_full")


async def test_a_full_queue_keeps_its_reserve_for_high_priority(client: httpx.AsyncClient, front: FrontDoor) -> None:
    tenants = [await bearer(front, tenant) for tenant in "abc"]
    for headers in tenants[:2]:
        for _ in range(4):
            assert (await submit(client, HIGH if headers is tenants[1] else BODY, **headers)).status_code == 202
    # Eight wait, of the seven that others than high may fill.
    for _ in range(2):
        refused = await submit(client, **tenants[2])
        told(refused, 503, "queue_full")
        assert refused.headers["ratelimit"].startswith('"tenant";r=4, "service";r=0;t=')
        assert '"service";q=10' in refused.headers["ratelimit-policy"]
    assert [(await submit(client, HIGH, **tenants[2])).status_code for _ in range(3)] == [202, 202, 503]


async def test_a_repeat_is_answered_however_full_the_queue_is(client: httpx.AsyncClient) -> None:
    first = await submit(client, Idempotency_Key="order-7")
    for _ in range(4):
        await submit(client)
    assert (await submit(client, Idempotency_Key="another")).status_code == 429
    for spelled in ("order-7", '"order-7"'):
        again = await submit(client, Idempotency_Key=spelled)
        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
        assert again.headers["idempotency-replayed"] == "true"
    changed = await submit(client, {**BODY, "n": 2}, Idempotency_Key="order-7")
    assert (changed.status_code, changed.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_repeat_of_an_ended_job_is_200_when_it_waits_and_202_when_not(
    client: httpx.AsyncClient, front: FrontDoor
) -> None:
    await submit(client, Idempotency_Key="k")
    await complete_next(front.store)
    assert (await submit(client, Idempotency_Key="k")).status_code == 202
    waited = await submit(client, Idempotency_Key="k", Prefer="wait=5")
    assert (waited.status_code, waited.json()["status"]) == (200, "completed")
    assert waited.headers["idempotency-replayed"] == "true"


async def test_a_repeat_whose_job_is_gone_is_told_so_and_runs_nothing(
    client: httpx.AsyncClient, front: FrontDoor
) -> None:
    job_id = (await submit(client, Idempotency_Key="k")).json()["id"]
    await complete_next(front.store)
    await front.redis.delete(f"aip:job:{job_id}")
    again = await submit(client, Idempotency_Key="k")
    assert (again.status_code, again.json()["code"]) == (410, "idempotency_result_gone")
    assert job_id in again.json()["detail"]
    assert (await client.get("/api/v1/jobs")).json()["data"] == []


async def test_those_who_look_at_one_time_share_one_look_and_a_key_is_looked_for_by_itself(
    client: httpx.AsyncClient, front: FrontDoor
) -> None:
    await submit(client, Idempotency_Key="known")
    limits = limits_of(front.settings)

    async def scripts() -> int:
        stats: dict[str, Any] = await front.redis.info("commandstats")
        return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))

    async def looks(count: int, key: str | None) -> list[Room]:
        return await asyncio.gather(
            *(front.admission.look(front.store, "default", limits=limits, idempotency_key=key) for _ in range(count))
        )

    await looks(1, None)
    before = await scripts()
    found = await looks(50, None)
    assert await scripts() - before == 1
    assert {room.figures.waiting for room in found} == {1}
    assert [room.known for room in await looks(2, "known")] == [True, True]
    assert not (await looks(1, None))[0].known


async def test_one_who_goes_away_does_not_take_the_look_from_the_others(
    client: httpx.AsyncClient, front: FrontDoor
) -> None:
    limits = limits_of(front.settings)
    first, second = (
        asyncio.create_task(front.admission.look(front.store, "t", limits=limits, idempotency_key=None))
        for _ in range(2)
    )
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).figures.waiting == 0


async def test_the_reference_tells_of_a_full_queue_and_of_what_is_left(client: httpx.AsyncClient) -> None:
    responses = (await client.get("/openapi.json")).json()["paths"]["/api/v1/completion"]["post"]["responses"]
    codes = {
        code: status
        for status, response in responses.items()
        for code in response["content"].get("application/problem+json", {}).get("examples", {})
    }
    expected = {
        "idempotency_result_gone": "410", "tenant_queue_full": "429", "queue_full": "503", "queue_too_slow": "503",
    }  # fmt: skip
    assert expected.items() <= codes.items()
    assert {"RateLimit", "RateLimit-Policy"} <= responses["202"]["headers"].keys()
    for status in ("429", "503"):
        assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= responses[status]["headers"].keys()


@pytest.mark.parametrize("key", ["", '"', '""', "x" * 256])
async def test_an_idempotency_key_that_is_none_is_a_clear_error(client: httpx.AsyncClient, key: str) -> None:
    refused = await submit(client, Idempotency_Key=key)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


async def test_a_key_may_have_a_limit_of_its_own(client: httpx.AsyncClient, front: FrontDoor) -> None:
    small, large = await bearer(front, "t", queued=1), await bearer(front, "t", queued=6)
    assert (await submit(client, **small)).headers["ratelimit"] == '"tenant";r=0'
    told(await submit(client, **small), 429, "tenant_queue_full")
    assert (await submit(client, **large)).headers["ratelimit"] == '"tenant";r=4'
    assert [key.queued for key in await front.keys.list()] == [1, 6]
