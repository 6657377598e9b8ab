"""The front door's routes and shapes on a real Redis and the real job store."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis as sync_redis
from fastapi import FastAPI
from redis.asyncio import Redis

from api.app import create_app
from api.front import FrontDoor
from api.keys.keys import KeyStore
from infrastructure.core.config_core import load
from tests.support.front_door import BODY, RESULT, SANDBOX, complete_next
from tests.support.logs import caught_log
from tests.support.machine import in_time
from tests.support.waiting import eventually
from workers.jobs.models import Status

pytestmark = pytest.mark.anyio
UNKNOWN = "job_" + "0" * 32


@pytest.fixture
def app(redis_url: str, tmp_path: Path) -> FastAPI:
    variables = {"REDIS_URL": redis_url, "AI_PROVIDER_DATA_DIR": str(tmp_path), "AI_PROVIDER_SANDBOX_URL": SANDBOX}
    return create_app(load(variables).settings)


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


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert (response.status_code, told["status"], told["code"]) == (status, status, code)
    assert told["type"] == f"urn:ai-provider:problem:{code}"
    assert told["title"]
    assert told["detail"]
    assert told["instance"].endswith(response.headers["x-request-id"])
    return told


async def test_a_submission_answers_with_the_job_and_its_address(client: httpx.AsyncClient, front: FrontDoor) -> None:
    response = await client.post("/api/v1/completion", json={**BODY, "metadata": {"run": "42"}})
    job = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert response.headers["cache-control"] == "no-store"
    assert job.pop("created_at").endswith("Z")
    assert job == {
        "id": job["id"], "object": "job", "status": "queued", "model": "default", "started_at": None,
        "finished_at": None, "result": None, "error": None, "usage": None, "cost_usd": None, "cost_complete": False, "saved_usd": None, "saved_ms": None,
        "cache": None, "attempts": [], "metadata": {"run": "42"}, "retry_of": None, "waits": None,
    }  # fmt: skip
    assert (await client.get(response.headers["location"])).json() == response.json()


async def test_a_completed_job_shows_its_result(client: httpx.AsyncClient, front: FrontDoor) -> None:
    place = (await client.post("/api/v1/completion", json=BODY)).headers["location"]
    await complete_next(front.store)
    job = (await client.get(place)).json()
    assert (job["status"], job["result"], job["cost_usd"]) == ("completed", RESULT, 0.25)
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]


async def test_a_failed_job_shows_its_error(client: httpx.AsyncClient, front: FrontDoor) -> None:
    place = (await client.post("/api/v1/completion", json=BODY)).headers["location"]
    await complete_next(front.store, status=Status.FAILED)
    job = (await client.get(place)).json()
    assert (job["status"], job["error"]) == ("failed", {"code": "rate_limited", "message": "slow down"})


async def test_prefer_wait_answers_200_when_the_job_ends_in_time(client: httpx.AsyncClient, front: FrontDoor) -> None:
    submitting = asyncio.create_task(client.post("/api/v1/completion", json=BODY, headers={"Prefer": "wait=20"}))
    await eventually(lambda: len(front.waiters))
    await complete_next(front.store)
    response = await asyncio.wait_for(submitting, 15)
    assert (response.status_code, response.headers["preference-applied"]) == (200, "wait=20")
    assert response.json()["result"] == RESULT
    assert response.headers["location"].endswith(response.json()["id"])


async def test_prefer_wait_answers_202_when_it_does_not(client: httpx.AsyncClient) -> None:
    started = time.monotonic()
    response = await client.post("/api/v1/completion", json=BODY, headers={"Prefer": "wait=1"})
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    assert (took_s := time.monotonic() - started) > 0.9
    assert in_time(took_s, 5)
    assert response.headers["preference-applied"] == "wait=1"


async def test_waiting_on_a_job_ends_with_the_job(client: httpx.AsyncClient, front: FrontDoor) -> None:
    place = (await client.post("/api/v1/completion", json=BODY)).headers["location"]
    waiting = asyncio.create_task(client.get(place, params={"wait": 20}))
    await eventually(lambda: len(front.waiters))
    await client.post(f"{place}/cancel")
    response = await asyncio.wait_for(waiting, 15)
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    assert len(front.waiters) == 0


async def test_both_ways_to_ask_for_a_wait_hold_on_submit_and_read(client: httpx.AsyncClient, front: FrontDoor) -> None:
    submitting = asyncio.create_task(client.post("/api/v1/completion", params={"wait": 20}, json=BODY))
    await eventually(lambda: len(front.waiters))
    await complete_next(front.store)
    assert (await asyncio.wait_for(submitting, 15)).status_code == 200
    place = (await client.post("/api/v1/completion", json=BODY)).headers["location"]
    reading = asyncio.create_task(client.get(place, headers={"Prefer": "wait=20"}))
    await eventually(lambda: len(front.waiters))
    await complete_next(front.store)
    read = await asyncio.wait_for(reading, 15)
    assert (read.status_code, read.json()["status"]) == (200, "completed")
    assert read.headers["preference-applied"] == "wait=20"


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("POST", "/api/v1/completion?wiat=2", "no such parameter; did you mean wait?"),
        ("GET", "/api/v1/jobs?limt=2", "no such parameter; did you mean limit?"),
        ("GET", "/api/v1/jobs?x=2", "no such parameter; there are status, limit, after"),
        ("GET", "/api/v1/providers?by=day", "no such parameter; there are none here"),
        ("GET", "/api/v1/costs?dys=7", "no such parameter; did you mean days?"),
        ("GET", "/health/ready?x", "no such parameter; there are none here"),
    ],
)
async def test_a_query_parameter_that_a_route_does_not_know_is_refused_by_name(
    client: httpx.AsyncClient, method: str, path: str, told: str
) -> None:
    answer = await client.request(method, path, json=BODY if method == "POST" else None)
    (error,) = problem(answer, 422, "validation_failed")["errors"]
    assert error["message"] == told


async def test_a_path_that_knows_other_methods_names_them(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/api/v1/completion")
    assert problem(answer, 405, "method_not_allowed")["detail"] == "expected POST, got DELETE"
    assert answer.headers["allow"] == "POST"


async def test_cancelling_twice_gives_the_same_job(client: httpx.AsyncClient, front: FrontDoor) -> None:
    place = (await client.post("/api/v1/completion", json=BODY)).headers["location"]
    first, second = [await client.post(f"{place}/cancel") for _ in range(2)]
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert (second.status_code, second.json()) == (200, first.json())


async def test_cancelling_a_completed_job_leaves_it_as_it_is(client: httpx.AsyncClient, front: FrontDoor) -> None:
    place = (await client.post("/api/v1/completion", json=BODY)).headers["location"]
    await complete_next(front.store)
    response = await client.post(f"{place}/cancel")
    assert (response.status_code, response.json()["status"]) == (200, "completed")


async def test_pages_follow_each_other_newest_first_without_results(
    client: httpx.AsyncClient, front: FrontDoor
) -> None:
    made = [(await client.post("/api/v1/completion", json=BODY)).json()["id"] for _ in range(5)]
    await complete_next(front.store)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    for expected_more in (True, True, False):
        page = (await client.get("/api/v1/jobs", params=query)).json()
        assert (page["object"], page["has_more"]) == ("list", expected_more)
        assert all("result" not in job for job in page["data"])
        seen += [job["id"] for job in page["data"]]
        query["after"] = seen[-1]
    assert seen == made[::-1]
    done = (await client.get("/api/v1/jobs", params={"status": "completed"})).json()["data"]
    assert [job["id"] for job in done] == made[:1]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "status=done", "after=xyz"])
async def test_a_bad_query_is_told_by_name(client: httpx.AsyncClient, query: str) -> None:
    told = problem(await client.get(f"/api/v1/jobs?{query}"), 422, "validation_failed")
    assert told["errors"][0]["field"] == query.split("=", maxsplit=1)[0]
    assert told["errors"][0]["message"].startswith("expected")


@pytest.mark.parametrize("wait", ["61", "-1", "x", "1e1", ""])
async def test_a_wait_that_cannot_be_is_refused(client: httpx.AsyncClient, wait: str) -> None:
    problem(await client.get(f"/api/v1/jobs/{UNKNOWN}?wait={wait}"), 422, "validation_failed")
    problem(
        await client.post("/api/v1/completion", json=BODY, headers={"Prefer": f"wait={wait}"}), 422, "validation_failed"
    )


async def test_the_same_idempotency_key_makes_one_job(client: httpx.AsyncClient, front: FrontDoor) -> None:
    headers = {"Idempotency-Key": "order-7"}
    answers = await asyncio.gather(*(client.post("/api/v1/completion", json=BODY, headers=headers) for _ in range(20)))
    assert {response.status_code for response in answers} == {202}
    assert len({response.json()["id"] for response in answers}) == 1
    assert sum("idempotency-replayed" not in response.headers for response in answers) == 1
    other_order = dict(reversed(BODY.items()))
    again = await client.post("/api/v1/completion", json=other_order, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert len((await client.get("/api/v1/jobs")).json()["data"]) == 1
    refused = await client.post("/api/v1/completion", json={**BODY, "n": 2}, headers=headers)
    problem(refused, 422, "idempotency_key_reused")


async def test_another_tenants_job_is_not_there(client: httpx.AsyncClient, front: FrontDoor) -> None:
    mine = {"Authorization": f"Bearer {await front.keys.create('a')}"}
    theirs = {"Authorization": f"bearer {await front.keys.create('b', operator=True)}"}
    place = (await client.post("/api/v1/completion", json=BODY, headers=mine)).headers["location"]
    assert (await client.get(place, headers=mine)).status_code == 200
    foreign = await client.get(place, headers=theirs)
    unknown = await client.get(f"/api/v1/jobs/{UNKNOWN}", headers=theirs)
    assert problem(foreign, 404, "job_not_found")["detail"] == problem(unknown, 404, "job_not_found")["detail"]
    problem(await client.get(f"{place}?wait=5", headers=theirs), 404, "job_not_found")
    problem(await client.post(f"{place}/cancel", headers=theirs), 404, "job_not_found")
    assert (await client.get("/api/v1/jobs", headers=theirs)).json()["data"] == []
    assert (await client.get(place, headers=mine)).json()["status"] == "queued"


async def test_one_tenants_idempotency_keys_are_not_anothers(client: httpx.AsyncClient, front: FrontDoor) -> None:
    ids = set()
    for tenant in ("a", "b"):
        headers = {"Authorization": f"Bearer {await front.keys.create(tenant)}", "Idempotency-Key": "k"}
        ids.add((await client.post("/api/v1/completion", json=BODY, headers=headers)).json()["id"])
    assert len(ids) == 2


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer x", "Basic YTpi", "Bearer aip_000000000000_" + "A" * 43]
)
async def test_once_a_key_exists_every_route_needs_one(
    client: httpx.AsyncClient, front: FrontDoor, header: str | None
) -> None:
    await front.keys.create("a")
    headers = {} if header is None else {"Authorization": header}
    for method, path in (
        ("POST", "/api/v1/completion"), ("GET", "/api/v1/jobs"), ("GET", f"/api/v1/jobs/{UNKNOWN}"),
        ("POST", f"/api/v1/jobs/{UNKNOWN}/cancel"),
    ):  # fmt: skip
        response = await client.request(method, path, headers=headers)
        problem(response, 401, "missing_api_key" if header is None else "invalid_api_key")
        assert response.headers["www-authenticate"].startswith('Bearer realm="ai-provider"')
    for path in ("/health", "/health/ready", "/docs", "/openapi.json"):
        assert (await client.get(path, headers=headers)).status_code == 200


async def test_a_revoked_key_no_longer_opens(client: httpx.AsyncClient, front: FrontDoor) -> None:
    headers = {"Authorization": f"Bearer {await front.keys.create('a')}"}
    assert (await client.get("/api/v1/jobs", headers=headers)).status_code == 200
    await front.keys.revoke((await front.keys.list())[0].id)
    problem(await client.get("/api/v1/jobs", headers=headers), 401, "invalid_api_key")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:8005"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost:8005"}, 200),
        ({"Host": "[::1]:8005"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
    ],
)
async def test_without_keys_only_this_machine_by_its_own_name_comes_in(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    response = await client.get("/api/v1/jobs", headers=headers)
    assert response.status_code == status
    if status == 403:
        problem(response, 403, "forbidden")


async def test_on_a_public_address_nobody_comes_in_without_a_key(redis_url: str, tmp_path: Path) -> None:
    settings = load(
        {"REDIS_URL": redis_url, "AI_PROVIDER_DATA_DIR": str(tmp_path), "AI_PROVIDER_HOST": "0.0.0.0"}
    ).settings
    called: list[bool] = []
    app = create_app(settings, on_open_door=lambda: called.append(True))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        problem(await client.get("/api/v1/jobs"), 401, "missing_api_key")
        await eventually(lambda: called)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/api/v1/jobs/", 404, "not_found"),
        ("GET", "/api/v1/jobs/xyz", 404, "job_not_found"),
        ("GET", f"/api/v1/jobs/{UNKNOWN.upper()}", 404, "job_not_found"),
        ("GET", "/api/v1/jobs/%00%ff%0a", 404, "job_not_found"),
        ("POST", "/api/v1/jobs/xyz/cancel", 404, "job_not_found"),
        ("GET", "/api/v1/completion", 405, "method_not_allowed"),
        ("PUT", "/api/v1/jobs", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_there_is_a_problem_too(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path)
    problem(response, status, code)
    assert ("allow" in response.headers) == (status == 405)


async def test_a_sane_request_id_is_kept_and_another_is_replaced(client: httpx.AsyncClient) -> None:
    kept = await client.get("/health", headers={"X-Request-Id": "trace-1.a:b_c"})
    assert kept.headers["x-request-id"] == "trace-1.a:b_c"
    for strange in ("a b", "x" * 129, 'a"b', ""):
        replaced = await client.get("/health", headers={"X-Request-Id": strange})
        assert replaced.headers["x-request-id"].startswith("req_")


async def test_a_defect_is_a_500_without_its_inside(
    client: httpx.AsyncClient, front: FrontDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("planted secret")

    monkeypatch.setattr(type(front.store), "get", broken)
    with caught_log() as log:
        response = await client.get(f"/api/v1/jobs/{UNKNOWN}")
    told = problem(response, 500, "internal_error")
    assert "planted" not in json.dumps(told)
    assert "planted" not in log.text
    assert "wait=0" not in log.text
    (line,) = [
        line for line in log.lines if line["level"] == "ERROR" and line["message"] == "Request failed by a defect"
    ]
    assert line["context"]["error_type"] == "RuntimeError"
    assert line["context"]["at"].endswith(" in broken")


async def test_each_request_is_logged_once_without_body_and_query(client: httpx.AsyncClient) -> None:
    with caught_log() as log:
        await client.post("/api/v1/completion?wait=0", json={**BODY, "user": "planted"}, headers={"X-Request-Id": "r1"})
    (line,) = [line for line in log.lines if line["message"] == "Request"]
    context = line["context"]
    assert context.pop("duration_ms") > 0
    assert context.pop("job_id").startswith("job_")
    assert context == {
        "method": "POST", "path": "/api/v1/completion", "status_code": 202, "request_id": "r1", "tenant": "default"
    }  # fmt: skip
    assert "planted" not in log.text


async def test_ready_tells_what_there_is(client: httpx.AsyncClient) -> None:
    ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")


async def test_the_bell_rings_for_a_new_job(client: httpx.AsyncClient, redis_url: str) -> None:
    job_id = (await client.post("/api/v1/completion", json=BODY)).json()["id"]
    broker = sync_redis.Redis.from_url(redis_url)

    def rung() -> bool:
        lists = [key for key in broker.keys("*") if broker.type(key) == b"list"]
        return any(job_id.encode() in message for key in lists for message in broker.lrange(key, 0, -1))

    await eventually(rung)
    broker.close()


async def test_the_reference_is_whole_and_has_examples(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}:
        assert reference in document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) == path.startswith("/api/")
            for status, response in operation["responses"].items():
                if status == "204":
                    assert "content" not in response
                    continue
                ((media_type, content),) = response["content"].items()
                good = "text/event-stream" if path.endswith("/{job_id}/events") else "application/json"
                assert media_type == (good if status < "3" else "application/problem+json")
                assert content.get("example") or content.get("examples"), (path, status)
    submit = document["paths"]["/api/v1/completion"]["post"]
    assert submit["requestBody"]["content"]["application/json"]["example"]["model"]
    headers = {"Cache-Control", "Idempotency-Key", "Prefer", "X-Request-Id"}
    assert {parameter["name"] for parameter in submit["parameters"]} == {*headers, "wait"}
    page = (await client.get("/docs")).text
    assert "POST" in page
    assert "/api/v1/completion" in page
    assert "http" not in page.split("<h1>")[0]
    assert "<script" not in page


async def test_the_examples_of_the_reference_are_true(client: httpx.AsyncClient, front: FrontDoor) -> None:
    submit = (await client.get("/openapi.json")).json()["paths"]["/api/v1/completion"]["post"]
    example = submit["requestBody"]["content"]["application/json"]["example"]
    job = (await client.post("/api/v1/completion", json=example)).json()
    shown = submit["responses"]["202"]["content"]["application/json"]["example"]
    varying = {"id", "created_at"}
    assert {k: v for k, v in job.items() if k not in varying} == {k: v for k, v in shown.items() if k not in varying}
    await complete_next(front.store)
    done = (await client.get(f"/api/v1/jobs/{job['id']}")).json()
    assert set(done) == set(submit["responses"]["200"]["content"]["application/json"]["example"])


async def test_keys_from_the_command_line_are_seen_by_the_front_door(
    client: httpx.AsyncClient, front: FrontDoor, redis: Redis
) -> None:
    from infrastructure.core.service_secret import hmac_secret

    elsewhere = KeyStore(redis, prefix="aip", secret=hmac_secret(front.settings))
    headers = {"Authorization": f"Bearer {await elsewhere.create('team')}"}
    await front.keys.create("other")  # the front door has looked already and would remember for 5 s that there is none
    place = (await client.post("/api/v1/completion", json=BODY, headers=headers)).headers["location"]
    assert (await client.get(place, headers=headers)).status_code == 200
