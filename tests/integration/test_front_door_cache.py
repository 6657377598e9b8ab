"""What a caller says of the answer cache reaches the worker, and what it saved reaches the caller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.app import create_app
from api.front import FrontDoor
from infrastructure.core.config_core import load
from tests.support.front_door import BODY, RESULT, SANDBOX
from tests.support.waiting import eventually
from workers.jobs.codec import pack, unpack
from workers.jobs.models import COMPLETION_CLASSES, Claimed, Outcome, Status

pytestmark = pytest.mark.anyio
Door = tuple[httpx.AsyncClient, FrontDoor]


@pytest.fixture
async def door(redis_url: str, tmp_path: Path) -> AsyncIterator[Door]:
    variables = {"REDIS_URL": redis_url, "AI_PROVIDER_DATA_DIR": str(tmp_path), "AI_PROVIDER_SANDBOX_URL": SANDBOX}
    app = create_app(load(variables).settings)
    async with app.router.lifespan_context(app):
        await eventually(lambda: app.state.front.waiters.listening)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client, app.state.front


async def submitted(door: Door, *, header: str | None = None, cache: Any = None) -> Claimed:
    client, front = door
    body = BODY if cache is None else {**BODY, "cache": cache}
    headers = {} if header is None else {"Cache-Control": header}
    assert (await client.post("/api/v1/completion", json=body, headers=headers)).status_code == 202
    job = await front.store.claim("worker", nonce=uuid4().hex, classes=COMPLETION_CLASSES)
    assert job is not None
    return job


@pytest.mark.parametrize(
    ("header", "cache", "expected"),
    [
        (None, None, None),
        ("max-age=60", None, None),
        ("max-age=0", None, {"mode": "refresh"}),
        ("no-cache", None, {"mode": "refresh"}),
        ("no-store", None, {"mode": "off"}),
        ("no-store", {"mode": "use"}, {"mode": "use"}),
        ("no-cache", {"ttl": 5}, {"ttl": 5, "mode": "refresh"}),
        (None, {"mode": "auto", "ttl": 5}, {"mode": "auto", "ttl": 5}),
    ],
)
async def test_cache_control_is_a_mode_unless_the_body_names_one(
    door: Door, header: str | None, cache: Any, expected: Any
) -> None:
    assert unpack((await submitted(door, header=header, cache=cache)).request)["cache"] == expected


async def test_a_job_shows_what_the_cache_saved(door: Door) -> None:
    job = await submitted(door)
    outcome = Outcome(
        status=Status.COMPLETED, result=pack(RESULT), cost_usd=0.0, saved_usd=0.25, saved_ms=812.5, cache="hit"
    )
    assert await door[1].store.complete(job.fence, outcome, nonce=uuid4().hex)
    shown = (await door[0].get(f"/api/v1/jobs/{job.id}")).json()
    assert (shown["cache"], shown["cost_usd"], shown["saved_usd"], shown["saved_ms"]) == ("hit", 0.0, 0.25, 812.5)


async def test_a_ttl_beyond_a_week_is_refused(door: Door) -> None:
    response = await door[0].post("/api/v1/completion", json={**BODY, "cache": {"ttl": 604_801}})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "cache.ttl"
