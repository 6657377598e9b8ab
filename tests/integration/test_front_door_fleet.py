"""What operators see of queues, services and events; what cannot be served or read is told by its code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis
from fastapi import FastAPI

from api.app import create_app
from api.events import KEPT, RecentEvents
from api.front import FrontDoor
from infrastructure.core.config_core import load
from infrastructure.optional.event_core import Event, EventBus
from infrastructure.optional.service_discovery import Directory, Registration
from tests.support.front_door import BODY, SANDBOX, complete_next
from tests.support.waiting import eventually
from workers.jobs.models import ReadyClass
from workers.jobs.topics import PROVIDER_FAILOVER

pytestmark = pytest.mark.anyio
ROUTES = ("/api/v1/queues", "/api/v1/infrastructure/services", "/api/v1/events")


@pytest.fixture
async def app(redis_url: str, tmp_path: Path) -> FastAPI:
    settings = load(
        {
            "REDIS_URL": redis_url,
            "AI_PROVIDER_DATA_DIR": str(tmp_path),
            "AI_PROVIDER_SANDBOX_URL": SANDBOX,
            "AI_PROVIDER_SCALING_COMPLETIONS_MAX": "4",
            "AI_PROVIDER_SCALING_COMPLETIONS_DEPTH": "2",
        }
    ).settings
    limited = {
        name: provider.model_copy(update={"max_tokens": 500 if name.startswith("sandbox") else None})
        for name, provider in settings.providers.items()
    }
    return create_app(settings.model_copy(update={"providers": limited}))


@pytest.fixture
def front(app: FastAPI) -> FrontDoor:
    front: FrontDoor = app.state.front
    return front


@pytest.fixture
async def client(app: FastAPI, front: FrontDoor) -> AsyncIterator[httpx.AsyncClient]:
    async with app.router.lifespan_context(app):
        await eventually(lambda: front.waiters.listening and front.events.get_metrics()["connected"])
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


async def test_queues_tell_what_waits_by_class_and_how_many_workers_would_do(
    client: httpx.AsyncClient, front: FrontDoor, redis: aioredis.Redis
) -> None:
    await front.store.renew("completions@host.4711.0011")
    for priority in ("high", "normal", "normal", "low", "low"):
        assert (await client.post("/api/v1/completion", json={**BODY, "priority": priority})).status_code == 202
    assert await front.store.claim("completions@host.4711.0011", nonce="n", classes=[ReadyClass.HIGH])

    completions, upkeep = (await client.get("/api/v1/queues")).json()["data"]

    assert (completions["kind"], completions["ready"], completions["running"]) == ("completions", 4, 1)
    assert {name: one["ready"] for name, one in completions["classes"].items()} == {"high": 0, "normal": 2, "low": 2}
    assert 0 <= completions["classes"]["low"]["oldest_age_s"] <= completions["oldest_age_s"] < 5
    assert completions["workers"] == {"now": 1, "recommended": 2, "min": 1, "max": 4}
    assert upkeep["workers"] == {"now": 0, "recommended": 1, "min": 1, "max": 1}
    await redis.hset("aip:job:none", "x", "y")  # nothing that is no job disturbs it
    assert (await client.get("/api/v1/queues")).status_code == 200


async def test_services_list_this_front_door_and_who_else_lives(
    client: httpx.AsyncClient, front: FrontDoor, redis: aioredis.Redis
) -> None:
    worker = Registration(Directory(redis), {"name": "ai-provider", "host": "h", "tags": ["completions"]})
    await worker.start()

    everybody = (await client.get("/api/v1/infrastructure/services")).json()["data"]
    web = (await client.get("/api/v1/infrastructure/services", params={"tag": "web"})).json()["data"]

    assert {one["id"] for one in everybody} == {worker.instance.id, web[0]["id"]}
    assert (web[0]["name"], web[0]["port"], web[0]["health_check"]) == ("ai-provider", 8005, "/health")
    assert web[0]["metadata"]["config"] == front.settings.version
    assert web[0]["metadata"]["kind"] == "web"
    await worker.stop()
    everybody = (await client.get("/api/v1/infrastructure/services")).json()["data"]
    assert [one["id"] for one in everybody] == [web[0]["id"]]


async def test_a_front_door_leaves_the_directory_when_it_stops(app: FastAPI, redis: aioredis.Redis) -> None:
    async with app.router.lifespan_context(app):
        assert len(await Directory(redis).discover("ai-provider", tag="web")) == 1
    assert await Directory(redis).discover() == []


async def test_events_of_the_fleet_are_shown_newest_first_and_by_pattern(
    client: httpx.AsyncClient, redis: aioredis.Redis
) -> None:
    worker = EventBus("completions@host.1.a", redis=redis)
    worker.start()
    await eventually(lambda: worker.get_metrics()["connected"])
    worker.publish("worker.ready", {"owner": "w"})
    worker.publish(PROVIDER_FAILOVER, {"from_provider": "a", "to_provider": "b"})

    async def both() -> list[Any]:
        data: list[Any] = (await client.get("/api/v1/events")).json()["data"]
        return data if len(data) == 2 else []

    newest, oldest = await eventually(both)
    assert (newest["topic"], newest["source"]) == ("provider.failover", "completions@host.1.a")
    assert newest["data"] == {"from_provider": "a", "to_provider": "b"}
    assert oldest["topic"] == "worker.ready"
    only = (await client.get("/api/v1/events", params={"topic": "worker.#", "limit": 1})).json()["data"]
    assert [event["topic"] for event in only] == ["worker.ready"]
    wrong = await client.get("/api/v1/events", params={"topic": "a..b"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "validation_failed")
    await worker.stop()


def test_only_the_last_hundred_events_are_kept() -> None:
    recent = RecentEvents()
    for number in range(KEPT + 20):
        recent.keep(Event(id=str(number), topic="n", source="s", at="", data={}))
    page = recent.page(topic="#", limit=1_000)
    assert (len(page), page[0]["id"], page[-1]["id"]) == (KEPT, str(KEPT + 19), "20")


async def test_tenants_see_none_of_it(client: httpx.AsyncClient, front: FrontDoor) -> None:
    key = await front.keys.create("acme")

    async def refused() -> bool:
        answers = [await client.get(route, headers={"Authorization": f"Bearer {key}"}) for route in ROUTES]
        return [answer.status_code for answer in answers] == [403] * len(ROUTES)

    await eventually(refused)
    await eventually(lambda: _statuses(client), what="and nobody does without a key")


async def _statuses(client: httpx.AsyncClient) -> bool:
    return [(await client.get(route)).status_code for route in ROUTES] == [401] * len(ROUTES)


async def test_a_part_whose_task_died_is_started_again(client: httpx.AsyncClient, front: FrontDoor) -> None:
    subscription = front.waiters.subscription
    dead = subscription._tasks
    dead[0].cancel()
    await eventually(lambda: subscription._tasks != dead and subscription.listening, within_s=15)
    await eventually(lambda: all(task.done() for task in dead))
    assert front.parts.get_metrics()["restarts"] == {"subscription": 1}
    assert (await client.get("/health/ready")).status_code == 200


async def test_a_request_that_no_provider_may_answer_at_this_length_is_refused_at_once(
    client: httpx.AsyncClient,
) -> None:
    fine = await client.post("/api/v1/completion", json={**BODY, "max_tokens": 500})
    assert fine.status_code == 202
    told = (await client.post("/api/v1/completion", json={**BODY, "max_tokens": 501})).json()
    assert (told["status"], told["code"]) == (422, "validation_failed")
    assert told["errors"] == [
        {"field": "max_tokens", "message": "expected at most 500, which providers of this model allow, got 501"}
    ]


async def test_a_damaged_result_is_told_by_its_code(
    client: httpx.AsyncClient, front: FrontDoor, redis: aioredis.Redis
) -> None:
    place = (await client.post("/api/v1/completion", json=BODY)).headers["location"]
    job_id = await complete_next(front.store)
    result = await redis.hget(f"aip:job:{job_id}", "result")
    assert isinstance(result, bytes)
    await redis.hset(f"aip:job:{job_id}", "result", result[:-1] + bytes([result[-1] ^ 1]))
    told = await client.get(place)
    assert (told.status_code, told.json()["code"]) == (500, "data_corrupt")
    assert (await client.get("/api/v1/jobs")).json()["data"][0]["id"] == job_id
