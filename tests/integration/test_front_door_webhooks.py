"""`/api/v1/webhooks` on a real Redis: endpoints, their secrets, their deliveries, and jobs that name them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from standardwebhooks.webhooks import Webhook

from api.app import create_app
from api.front import FrontDoor
from infrastructure.core.config_core import load
from infrastructure.core.service_secret import hmac_secret
from tests.support.front_door import BODY, SANDBOX, complete_next
from tests.support.hostile_urls import hostile_urls
from tests.support.logs import caught_log
from tests.support.waiting import eventually
from tests.support.webhooks import Receiver, posting, receiving, watching

pytestmark = pytest.mark.anyio
UNKNOWN = "whk_" + "0" * 24


def application(redis_url: str, folder: Path, **variables: str) -> FastAPI:
    base = {"REDIS_URL": redis_url, "AI_PROVIDER_DATA_DIR": str(folder), "AI_PROVIDER_SANDBOX_URL": SANDBOX}
    return create_app(load({**base, **variables}).settings)


@pytest.fixture
def app(redis_url: str, tmp_path: Path) -> FastAPI:
    return application(redis_url, tmp_path, AI_PROVIDER_WEBHOOKS_ALLOW_LOOPBACK="true")


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(app) as client:
        yield client


@pytest.fixture
def front(app: FastAPI) -> FrontDoor:
    front: FrontDoor = app.state.front
    return front


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


class calling:  # noqa: N801  used as a function
    """Hold a client of an application that runs."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __aenter__(self) -> httpx.AsyncClient:
        self._life = self._app.router.lifespan_context(self._app)
        await self._life.__aenter__()
        await eventually(lambda: self._app.state.front.waiters.listening)
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()
        await self._life.__aexit__(None, None, None)


async def made(client: httpx.AsyncClient, url: str, **more: Any) -> dict[str, Any]:
    answer = await client.post("/api/v1/webhooks", json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


async def test_an_endpoint_is_registered_and_its_secret_shown_once(
    client: httpx.AsyncClient, receiver: Receiver
) -> None:
    answer = await client.post("/api/v1/webhooks", json={"url": receiver.url, "description": "mine"})
    new = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/webhooks/{new['id']}"
    secret = new.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert new == {
        "id": new["id"], "object": "webhook", "url": receiver.url, "description": "mine", "enabled": True,
        "disabled_reason": None, "created_at": new["created_at"], "updated_at": new["created_at"],
    }  # fmt: skip
    read, listed = await client.get(f"/api/v1/webhooks/{new['id']}"), await client.get("/api/v1/webhooks")
    assert read.json() == new
    assert listed.json() == {"object": "list", "data": [new], "has_more": False}
    assert secret not in read.text + listed.text


async def test_redis_and_the_log_hold_nothing_that_signs(
    client: httpx.AsyncClient, receiver: Receiver, front: FrontDoor
) -> None:
    with caught_log(level="debug") as log:
        new = await made(client, receiver.url + "?token=planted")
        await client.post(f"/api/v1/webhooks/{new['id']}/rotate")
    held = repr(await front.redis.hgetall(f"aip:webhook:{new['id']}"))
    key = base64.b64decode(new["secret"].removeprefix("whsec_"))
    for form in (new["secret"], new["secret"].removeprefix("whsec_"), key.hex(), repr(key)):
        assert form not in held + log.text
    assert "planted" not in log.text


async def test_a_repeat_under_one_idempotency_key_is_one_endpoint_with_its_secret(
    client: httpx.AsyncClient, receiver: Receiver
) -> None:
    body, headers = {"url": receiver.url}, {"Idempotency-Key": "k1"}
    first = await client.post("/api/v1/webhooks", json=body, headers=headers)
    again = await client.post("/api/v1/webhooks", json=body, headers=headers)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = await client.post("/api/v1/webhooks", json={**body, "description": "x"}, headers=headers)
    assert code(other) == (422, "idempotency_key_reused")
    assert len((await client.get("/api/v1/webhooks")).json()["data"]) == 1


@pytest.mark.parametrize(
    ("body", "field", "told"),
    [
        ({}, "url", "this field is required"),
        ({"url": 7}, "url", "expected a string"),
        ({"url": "https://hooks.example.com/", "secret": "x"}, "secret", "no such field"),
        ({"url": "https://hooks.example.com/", "enabled": "yes"}, "enabled", "expected true or false"),
        ({"url": "https://hooks.example.com/", "description": "d" * 501}, "description", "at most 500"),
        ({"url": "https://hooks.example.com/", "description": "a\nb"}, "description", "printable"),
        ({"url": "ftp://hooks.example.com/"}, "url", "expected an https URL"),
        ({"url": "https://10.0.0.1/"}, "url", "expected a public address"),
        ({"url": "https://nobody-has-this.invalid./"}, "url", "expected a public host name"),
    ],
)
async def test_what_cannot_be_an_endpoint_is_refused_by_field(
    client: httpx.AsyncClient, body: dict[str, Any], field: str, told: str
) -> None:
    answer = await client.post("/api/v1/webhooks", json=body)
    assert code(answer) == (422, "validation_failed")
    [error] = answer.json()["errors"]
    assert error["field"] == field
    assert told in error["message"]


async def test_no_hostile_url_is_registered(redis_url: str, tmp_path: Path) -> None:
    with watching() as inner:
        app = application(redis_url, tmp_path, AI_PROVIDER_WEBHOOKS_PORTS=f"443,{inner.port}")
        async with calling(app) as client:
            new = [await client.post("/api/v1/webhooks", json={"url": url}) for url in hostile_urls(inner.port)]
            assert {code(answer) for answer in new} == {(422, "validation_failed")}
            assert (await client.get("/api/v1/webhooks")).json()["data"] == []
        assert inner.count() == 0


async def test_a_tenant_has_only_so_many_endpoints(redis_url: str, tmp_path: Path, receiver: Receiver) -> None:
    more = {"AI_PROVIDER_WEBHOOKS_ALLOW_LOOPBACK": "true", "AI_PROVIDER_WEBHOOKS_MOST_ENDPOINTS": "2"}
    async with calling(application(redis_url, tmp_path, **more)) as client:
        first = await made(client, receiver.url)
        await made(client, receiver.url)
        assert code(await client.post("/api/v1/webhooks", json={"url": receiver.url})) == (409, "webhook_limit")
        await client.delete(f"/api/v1/webhooks/{first['id']}")
        await made(client, receiver.url)


async def test_an_endpoint_is_changed_and_deleted(client: httpx.AsyncClient, receiver: Receiver) -> None:
    new = await made(client, receiver.url)
    place = f"/api/v1/webhooks/{new['id']}"
    changed = (
        await client.patch(place, json={"enabled": False, "description": "off", "url": receiver.url + "/b"})
    ).json()
    assert (changed["enabled"], changed["description"], changed["url"]) == (False, "off", receiver.url + "/b")
    assert (await client.patch(place, json={"enabled": True})).json()["description"] == "off"
    assert (await client.patch(place, json={})).json()["enabled"]
    assert code(await client.patch(place, json={"url": "https://10.0.0.1/"})) == (422, "validation_failed")
    assert (await client.delete(place)).json() == {"id": new["id"], "object": "webhook", "deleted": True}
    for gone in (
        await client.get(place),
        await client.delete(place),
        await client.patch(place, json={"enabled": True}),
    ):
        assert code(gone) == (404, "webhook_not_found")


async def test_another_tenant_sees_and_reaches_nothing(
    client: httpx.AsyncClient, front: FrontDoor, receiver: Receiver
) -> None:
    mine = {"Authorization": f"Bearer {await front.keys.create('mine')}"}
    theirs = {"Authorization": f"Bearer {await front.keys.create('theirs')}"}
    new = (await client.post("/api/v1/webhooks", json={"url": receiver.url}, headers=mine)).json()
    place = f"/api/v1/webhooks/{new['id']}"
    event = (await client.post(f"{place}/test", headers=mine)).json()
    tries = [
        ("GET", place, None), ("PATCH", place, {"enabled": False}), ("PATCH", place, {"url": receiver.url}),
        ("DELETE", place, None), ("POST", f"{place}/rotate", None), ("POST", f"{place}/test", None),
        ("GET", f"{place}/deliveries", None), ("POST", f"{place}/deliveries/{event['id']}/replay", None),
    ]  # fmt: skip
    for method, path, body in tries:
        answer = await client.request(method, path, json=body, headers=theirs)
        assert answer.status_code == 404, (method, path)
    assert (await client.get("/api/v1/webhooks", headers=theirs)).json()["data"] == []
    refused = await client.post("/api/v1/completion", json={**BODY, "webhook": new["id"]}, headers=theirs)
    assert code(refused) == (422, "validation_failed")
    assert code(await client.get("/api/v1/webhooks")) == (401, "missing_api_key")


async def test_a_job_that_names_an_endpoint_tells_it_its_end(
    client: httpx.AsyncClient, front: FrontDoor, receiver: Receiver
) -> None:
    new = await made(client, receiver.url)
    submitted = await client.post("/api/v1/completion", json={**BODY, "webhook": new["id"]})
    assert submitted.status_code == 202
    job_id = await complete_next(front.store)
    secret = hmac_secret(front.settings)
    async with posting(front.redis, secret=lambda: secret) as post:
        await post.drain()
    [came] = receiver.requests
    told = Webhook(new["secret"]).verify(came.body, came.headers)
    assert (told["type"], told["data"]) == ("job.completed", {"id": job_id})
    listed = (await client.get(f"/api/v1/webhooks/{new['id']}/deliveries")).json()
    [delivery] = listed["data"]
    [attempt] = delivery.pop("attempts")
    assert (attempt["status"], attempt["error"]) == (204, None)
    assert delivery == {
        "id": came.id, "object": "webhook_delivery", "webhook": new["id"], "type": "job.completed", "data": {"id": job_id},
        "status": "delivered", "created_at": delivery["created_at"], "next_attempt_at": None,
    }  # fmt: skip
    replayed = await client.post(f"/api/v1/webhooks/{new['id']}/deliveries/{came.id}/replay")
    assert (replayed.status_code, replayed.json()["status"]) == (202, "pending")
    async with posting(front.redis, secret=lambda: secret) as post:
        await post.drain()
    assert receiver.counts == {came.id: 2}


@pytest.mark.parametrize("webhook", [UNKNOWN, "whk_1", "", "disabled", 7])
async def test_a_job_may_name_only_an_enabled_endpoint_of_its_tenant(
    client: httpx.AsyncClient, front: FrontDoor, receiver: Receiver, webhook: Any
) -> None:
    if webhook == "disabled":
        webhook = (await made(client, receiver.url, enabled=False))["id"]
    answer = await client.post("/api/v1/completion", json={**BODY, "webhook": webhook})
    assert code(answer) == (422, "validation_failed")
    assert [error["field"] for error in answer.json()["errors"]] == ["webhook"]
    assert await front.redis.keys("aip:job:*") == []


async def test_a_job_is_refused_while_too_much_waits_for_its_endpoint(
    redis_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    more = {"AI_PROVIDER_WEBHOOKS_ALLOW_LOOPBACK": "true", "AI_PROVIDER_WEBHOOKS_MOST_PENDING": "1"}
    async with calling(application(redis_url, tmp_path, **more)) as client:
        new = await made(client, receiver.url)
        await client.post(f"/api/v1/webhooks/{new['id']}/test")
        answer = await client.post("/api/v1/completion", json={**BODY, "webhook": new["id"]})
        assert code(answer) == (429, "webhook_backlog")
        assert int(answer.headers["retry-after"]) > 0


async def test_a_test_event_is_sent_once_a_key_and_to_no_disabled_endpoint(
    client: httpx.AsyncClient, front: FrontDoor, receiver: Receiver
) -> None:
    new = await made(client, receiver.url)
    place = f"/api/v1/webhooks/{new['id']}"
    same = [(await client.post(f"{place}/test", headers={"Idempotency-Key": "t"})).json() for _ in range(2)]
    other = (await client.post(f"{place}/test")).json()
    assert same[0]["id"] == same[1]["id"] != other["id"]
    secret = hmac_secret(front.settings)
    async with posting(front.redis, secret=lambda: secret) as post:
        await post.drain()
    assert {one.event["type"] for one in receiver.requests} == {"webhook.test"}
    assert receiver.counts == {same[0]["id"]: 1, other["id"]: 1}
    await client.patch(place, json={"enabled": False})
    assert code(await client.post(f"{place}/test")) == (409, "webhook_disabled")


async def test_a_rotation_shows_another_secret_and_its_repeat_the_same(
    client: httpx.AsyncClient, receiver: Receiver
) -> None:
    new = await made(client, receiver.url)
    place = f"/api/v1/webhooks/{new['id']}/rotate"
    once = [(await client.post(place, headers={"Idempotency-Key": "r"})).json()["secret"] for _ in range(2)]
    assert once[0] == once[1] != new["secret"]
    assert (await client.post(place)).json()["secret"] not in {once[0], new["secret"]}


async def test_deliveries_are_paged(client: httpx.AsyncClient, receiver: Receiver) -> None:
    new = await made(client, receiver.url)
    place = f"/api/v1/webhooks/{new['id']}"
    sent = {(await client.post(f"{place}/test")).json()["id"] for _ in range(3)}
    first = (await client.get(f"{place}/deliveries", params={"limit": 2})).json()
    rest = (await client.get(f"{place}/deliveries", params={"limit": 2, "after": first["data"][-1]["id"]})).json()
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert {one["id"] for one in [*first["data"], *rest["data"]]} == sent
    assert code(await client.get(f"{place}/deliveries", params={"after": "x"})) == (422, "validation_failed")
    unknown = {"after": "evt_" + "0" * 32}
    assert code(await client.get(f"{place}/deliveries", params=unknown)) == (404, "delivery_not_found")


async def test_the_reference_knows_every_route_of_webhooks(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    paths = {path: set(methods) for path, methods in document["paths"].items() if "webhooks" in path}
    assert paths == {
        "/api/v1/webhooks": {"get", "post"},
        "/api/v1/webhooks/{webhook_id}": {"get", "patch", "delete"},
        "/api/v1/webhooks/{webhook_id}/rotate": {"post"},
        "/api/v1/webhooks/{webhook_id}/test": {"post"},
        "/api/v1/webhooks/{webhook_id}/deliveries": {"get"},
        "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay": {"post"},
    }
    assert (await client.get("/docs")).status_code == 200
