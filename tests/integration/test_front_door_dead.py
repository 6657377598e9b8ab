"""Dead letters over HTTP: who sees which, who may retry them, and that what was asked is shown to nobody else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from redis.asyncio import Redis

from api.app import create_app
from api.front import FrontDoor
from api.reference.documents import DEAD
from infrastructure.core.config_core import load
from infrastructure.core.logger_core import get_logger
from tests.support.front_door import BODY, SANDBOX
from tests.support.jobs import let_die, must_claim, nonce, success
from tests.support.logs import caught_log
from tests.support.waiting import eventually
from workers.handlers import upkeep
from workers.jobs import topics
from workers.jobs.models import COMPLETION_CLASSES, ReadyClass
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio
UNKNOWN = "job_" + "0" * 32
SUSPECTS = (ReadyClass.SUSPECT,)


@pytest.fixture
def app(redis_url: str, tmp_path: Path) -> FastAPI:
    variables = {"REDIS_URL": redis_url, "AI_PROVIDER_DATA_DIR": str(tmp_path), "AI_PROVIDER_SANDBOX_URL": SANDBOX}
    return create_app(load(variables).settings)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


@pytest.fixture
def front(app: FastAPI) -> FrontDoor:
    front: FrontDoor = app.state.front
    return front


@pytest.fixture
def store(redis: Redis) -> JobStore:
    return JobStore(redis)


async def key(front: FrontDoor, tenant: str, *, operator: bool = False) -> dict[str, str]:
    return {"Authorization": f"Bearer {await front.keys.create(tenant, operator=operator)}"}


async def buried(client: httpx.AsyncClient, store: JobStore, redis: Redis, headers: dict[str, str]) -> str:
    """Submit a job and have it kill its workers until it is a dead letter."""
    body = {**BODY, "metadata": {"note": "private"}}
    job_id: str = (await client.post("/api/v1/completion", json=body, headers=headers)).json()["id"]
    for classes in (COMPLETION_CLASSES, COMPLETION_CLASSES, SUSPECTS, SUSPECTS):
        await must_claim(store, classes=classes)
        await let_die(redis)
        await upkeep.rescue(store, ring=lambda _: None, log=get_logger("test", "upkeep"))
    return job_id


async def test_a_tenant_sees_and_retries_its_own_and_an_operator_everybody_s(
    client: httpx.AsyncClient, front: FrontDoor, store: JobStore, redis: Redis
) -> None:
    mine, theirs = await key(front, "a"), await key(front, "b")
    operator = await key(front, "ops", operator=True)
    job_id = await buried(client, store, redis, mine)

    page = (await client.get("/api/v1/dead", headers=mine)).json()
    assert [letter["id"] for letter in page["data"]] == [job_id]
    assert (page["has_more"], page["next"]) == (False, None)
    assert set(page["data"][0]) == set(DEAD["responses"][200]["content"]["application/json"]["example"]["data"][0])
    assert (await client.get("/api/v1/dead", headers=operator)).json()["data"][0]["tenant"] == "a"
    assert (await client.get("/api/v1/dead", headers=theirs)).json()["data"] == []
    for path in (job_id, UNKNOWN, "job_x"):
        foreign = await client.post(f"/api/v1/jobs/{path}/retry", headers=theirs)
        assert (foreign.status_code, foreign.json()["code"]) == (404, "job_not_found")

    first = await client.post(f"/api/v1/jobs/{job_id}/retry", headers=mine)
    again = await client.post(f"/api/v1/jobs/{job_id}/retry", headers=operator)
    new = first.json()
    assert (first.status_code, new["status"], new["retry_of"]) == (202, "queued", job_id)
    assert first.headers["location"] == f"/api/v1/jobs/{new['id']}"
    assert "idempotency-replayed" not in first.headers
    assert (again.json()["id"], again.headers["idempotency-replayed"]) == (new["id"], "true")
    assert (await client.get("/api/v1/dead", headers=mine)).json()["data"][0]["retried_as"] == new["id"]
    assert (await client.get(first.headers["location"], headers=mine)).json() == new
    assert (await client.get(first.headers["location"], headers=operator)).status_code == 404


async def test_an_operator_is_shown_nothing_that_the_tenant_or_a_provider_wrote(
    client: httpx.AsyncClient, front: FrontDoor, store: JobStore, redis: Redis
) -> None:
    mine, operator = await key(front, "a"), await key(front, "ops", operator=True)
    job_id = await buried(client, store, redis, mine)
    await client.post(f"/api/v1/jobs/{job_id}/retry", headers=operator)
    await store.complete((await must_claim(store, classes=SUSPECTS)).fence, success(), nonce=nonce())
    listed = await client.get("/api/v1/dead", headers=operator)
    shown = await client.post(f"/api/v1/jobs/{job_id}/retry", headers=operator)
    assert shown.json()["status"] == "completed"
    for response in (listed, shown):
        assert not {"private", BODY["messages"][0]["content"], "four"} & set(json.dumps(response.json()).split('"'))
    own = await client.post(f"/api/v1/jobs/{job_id}/retry", headers=mine)
    assert own.json()["result"]["choices"]
    assert own.json()["metadata"] == {"note": "private"}


async def test_another_job_cannot_be_retried(client: httpx.AsyncClient) -> None:
    job_id = (await client.post("/api/v1/completion", json=BODY)).json()["id"]
    refused = await client.post(f"/api/v1/jobs/{job_id}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_a_dead_letter")
    for query in ("limit=0", "limit=101", "after=job_1"):
        assert (await client.get(f"/api/v1/dead?{query}")).status_code == 422


async def test_a_burial_is_told_by_name(
    client: httpx.AsyncClient, front: FrontDoor, store: JobStore, redis: Redis
) -> None:
    job_id = (await client.post("/api/v1/completion", json=BODY)).json()["id"]
    with caught_log() as log:
        for classes in (COMPLETION_CLASSES, COMPLETION_CLASSES, SUSPECTS, SUSPECTS):
            await must_claim(store, classes=classes)
            await let_die(redis)
            await upkeep.rescue(store, ring=lambda _: None, log=get_logger("test", "upkeep"), events=front.events)
    [line] = [line for line in log.lines if "dead letter" in line["message"]]
    assert (line["level"], line["context"]["job_id"]) == ("ERROR", job_id)
    await eventually(lambda: front.recent.page(topic=topics.JOB_DEAD, limit=1))
    [event] = (await client.get("/api/v1/events", params={"topic": topics.JOB_DEAD})).json()["data"]
    assert event["data"] == {"job_id": job_id}
