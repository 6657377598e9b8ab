"""`GET /api/v1/infrastructure/metrics` of real processes, and what it must not tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import zstandard

from api.app import create_app
from infrastructure.core.config_core import load
from tests.support.fleet import Fleet
from tests.support.front_door import SANDBOX
from tests.support.jobs_client import JobsClient
from tests.support.waiting import wait_for

PATH = "/api/v1/infrastructure/metrics"
SECRET = "sk-planted-0123456789abcdefghijkl"
HMAC = "planted-hmac-secret-of-at-least-32-characters"
PROMPTS = [f"the planted prompt number {number}" for number in range(3)]
MODEL = "planted-model-name-of-a-caller"


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet() as running:
        secrets = {"AI_PROVIDER_SERVICE_HMAC_SECRET": HMAC, "OPENAI_API_KEY": SECRET, "AI_PROVIDER_SANDBOX_MODE": "on"}
        running.worker_env = secrets
        running.start_web(**secrets)
        running.start_worker()
        jobs = JobsClient(running.url)
        for prompt in PROMPTS:
            jobs.wait(jobs.submit(prompt), within_s=40)
        httpx.post(f"{running.url}/api/v1/completion", json={"model": MODEL, "messages": []}, timeout=5)
        httpx.get(f"{running.url}/{PROMPTS[0]}?key={SECRET}", timeout=5)
        httpx.request("GET", f"{running.url}/api/v1/jobs/planted", headers={"X-Request-Id": "planted"}, timeout=5)
        yield running


def metrics_of(fleet: Fleet) -> dict[str, Any]:
    answer = httpx.get(fleet.url + PATH, timeout=10)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


@pytest.fixture
def metrics(fleet: Fleet) -> dict[str, Any]:
    def whole() -> dict[str, Any] | None:
        found = metrics_of(fleet)
        done = found["performance"]["operations"].get("complete", {}).get("count", 0)
        return found if done >= len(PROMPTS) else None

    found = wait_for(whole, within_s=15, what="the worker's figures at the front door")
    assert found is not None
    return found


def test_it_tells_the_four_sections_and_the_age_of_each_process(metrics: dict[str, Any]) -> None:
    assert set(metrics) == {"logging", "configuration", "caching", "performance", "instances"}
    assert {one["kind"] for one in metrics["instances"]} == {"web", "completions"}
    assert all(0 <= one["age_ms"] <= 15_000 for one in metrics["instances"])
    names = {one["instance"] for one in metrics["instances"]}
    assert set(metrics["logging"]["by_instance"]) == names
    assert metrics["performance"]["processes"] == 2


def test_it_tells_what_the_workers_and_the_front_door_did(metrics: dict[str, Any]) -> None:
    operations = metrics["performance"]["operations"]
    for name in ("ai_completion", "provider_call.sandbox", "claim", "complete", "queue_wait", "request", "submit",
                 "request.POST./api/v1/completion", "request.GET./api/v1/jobs/{job_id}"):  # fmt: skip
        shown = operations[name]
        assert shown["count"] >= len(PROMPTS), name
        assert 0 <= shown["p50_ms"] <= shown["p95_ms"] <= shown["p99_ms"] <= shown["max_ms"], name
    assert operations["ai_completion"]["count"] == len(PROMPTS)
    assert operations["ai_completion"]["error_rate"] == 0
    assert metrics["performance"]["resources"]["memory_mb"] > 50
    assert metrics["performance"]["errors"]["fleet"]["by_code"]["not_found"] >= 1
    assert set(metrics["performance"]["optimizations"]) == {
        "response_caching", "health_check_caching", "concurrent_health_checks", "optimized_provider_selection"
    }  # fmt: skip


def test_no_secret_and_no_prompt_is_in_it(fleet: Fleet, metrics: dict[str, Any]) -> None:
    text = httpx.get(fleet.url + PATH, timeout=10).text
    assert "planted" not in text
    assert "sk-" not in text
    for secret in (SECRET, HMAC, *PROMPTS):
        assert secret not in text
    assert fleet.redis.url not in text


def test_what_lies_in_redis_for_it_tells_no_secret_either(fleet: Fleet, metrics: dict[str, Any]) -> None:
    client: Any = redis.Redis.from_url(fleet.redis.url)
    keys = [key for key in client.keys("aip:metrics*") if client.type(key) == b"string"]
    assert len(keys) == 2
    for key in keys:
        text = zstandard.ZstdDecompressor().decompress(client.get(key), max_output_size=10**7).decode()
        assert "planted" not in text
        assert 0 < client.pttl(key) <= 15_000
    client.close()


def test_it_tells_what_the_cache_and_the_selection_by_score_bring(fleet: Fleet, metrics: dict[str, Any]) -> None:
    jobs = JobsClient(fleet.url)
    assert jobs.wait(jobs.submit(PROMPTS[0]))["cache"] == "hit"

    def counted() -> dict[str, Any] | None:
        shown: dict[str, Any] = metrics_of(fleet)["performance"]["optimizations"]
        return shown if shown["response_caching"]["cache_hit_rate"] not in {None, "0%"} else None

    found = wait_for(counted, what="the hit is counted")
    assert found is not None
    assert found["response_caching"]["enabled"] is True
    assert found["response_caching"]["performance_improvement"].endswith("% faster for repeated requests")
    selection = found["optimized_provider_selection"]
    assert (selection["enabled"], selection["selection_algorithm"]) == (True, "composite_performance_score")
    assert selection["selection_ms"] > 0


@pytest.mark.anyio
async def test_only_operators_are_told(redis_url: str, tmp_path: Path) -> None:
    variables = {"REDIS_URL": redis_url, "AI_PROVIDER_DATA_DIR": str(tmp_path), "AI_PROVIDER_SANDBOX_URL": SANDBOX}
    app = create_app(load(variables).settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        keys = app.state.front.keys
        tenant, operator = await keys.create("team"), await keys.create("ops", operator=True)
        without = await client.get(PATH)
        assert (without.status_code, without.json()["code"]) == (401, "missing_api_key")
        theirs = await client.get(PATH, headers={"Authorization": f"Bearer {tenant}"})
        assert (theirs.status_code, theirs.json()["code"]) == (403, "forbidden")
        ours = await client.get(PATH, headers={"Authorization": f"Bearer {operator}"})
        assert ours.status_code == 200
        assert tenant not in ours.text
        assert operator not in ours.text
