"""The real processes' logs: one form, files of their own, and nothing in them of what callers and providers said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from tests.support.fleet import Fleet
from tests.support.logs import FIELDS
from tests.support.planted import PLANTS, PROMPTS, SECRETS, found_in
from tests.support.waiting import wait_for

ENDED = {"completed", "failed", "expired", "cancelled"}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet() as fleet:
        logs = {"LOG_OUTPUT_DIR": str(fleet.folder / "logs"), "LOG_LEVEL": "debug", "AI_PROVIDER_LOG_FORMAT": "json"}
        fleet.worker_env = logs
        fleet.start_worker()
        fleet.start_worker()
        fleet.start_upkeep()
        fleet.start_web(**logs)
        yield fleet


def body_of(plant: str) -> dict[str, Any]:
    """Return a request with a plant in every field that takes any text."""
    return {
        "model": "sandbox/sandbox-small",
        "messages": [{"role": "system", "content": plant}, {"role": "user", "content": plant}],
        "user": plant[:512],
        "stop": [plant[:64]],
        "metadata": {"note": plant[:512]},
        "cache": {"mode": "off"},
    }


def as_header(plant: str) -> bytes:
    """Return what of a plant a header can carry."""
    return "".join(letter if letter.isprintable() else " " for letter in plant[:80]).strip().encode()


def submit(client: httpx.Client, plant: str) -> str:
    """Submit a job with a plant and return its id."""
    answer = client.post("/api/v1/completion", json=body_of(plant))
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    return str(answer.json()["id"])


def end_all(client: httpx.Client, ids: list[str]) -> set[str]:
    """Wait until jobs have ended; the states that they ended in."""
    states = {}
    for job_id in ids:
        states[job_id] = wait_for(partial(_ended, client, job_id), within_s=30, what="a job's end")
    return set(states.values())


def _ended(client: httpx.Client, job_id: str) -> str:
    status = client.get(f"/api/v1/jobs/{job_id}", params={"wait": 5}).json()["status"]
    return status if status in ENDED else ""


def lines_of(fleet: Fleet) -> dict[str, list[dict[str, Any]]]:
    """Return each file's lines."""
    files = sorted((fleet.folder / "logs").glob("*.log"))
    return {path.name: [json.loads(line) for line in path.read_text("utf-8").splitlines()] for path in files}


def test_nothing_that_callers_and_providers_say_gets_into_any_log(
    fleet: Fleet, capfd: pytest.CaptureFixture[str]
) -> None:
    with httpx.Client(base_url=fleet.url, timeout=20) as client:
        good = [submit(client, plant) for plant in PLANTS]
        assert end_all(client, good) == {"completed"}
        fleet.sandbox.set_faults({"action": {"status": 400, "error": {"message": "Zebrafisch, " + SECRETS[0]}}})
        bad = [submit(client, plant) for plant in PROMPTS]
        assert end_all(client, bad) == {"failed"}
        fleet.sandbox.set_faults()
        for plant in PLANTS:  # refused ones: the plant in the path, the query, a wrong key, a wrong body, the model
            client.get(f"/api/v1/{plant[:50].encode().hex()}", params={"ask": plant[:500]})
            client.get("/api/v1/jobs", headers={b"Authorization": b"Bearer " + as_header(plant)})
            client.post("/api/v1/completion", content=plant.encode(), headers={"Content-Type": "application/json"})
            client.post("/api/v1/completion", json={**body_of("x"), "model": plant[:200], plant[:50]: 1})

    wait_for(lambda: "Worker is ready" in (fleet.folder / "logs" / "ai-provider-completions.2.log").read_text())
    found = lines_of(fleet)
    assert {name.split(".")[0] for name in found} == {
        "ai-provider-web", "ai-provider-completions", "ai-provider-upkeep", "ai-provider-beat"
    }  # fmt: skip
    lines = [line for lines in found.values() for line in lines]
    assert all(list(line) == FIELDS for line in lines)
    assert {line["service_id"] for line in lines} == {"ai-provider-001"}
    for name in found:
        assert not found_in((fleet.folder / "logs" / name).read_text("utf-8")), name
    printed = capfd.readouterr()
    assert not found_in(printed.out + printed.err)

    for number in (1, 2):  # two processes of a kind write two files
        assert any(line["message"] == "Worker is ready" for line in found[f"ai-provider-completions.{number}.log"])
    worker = [line for number in (1, 2) for line in found[f"ai-provider-completions.{number}.log"]]
    done = [line["context"] for line in worker if line["context"].get("event") == "ai_completion_success"]
    assert {context["job_id"] for context in done} == set(good)
    assert {context["tenant"] for context in done} == {"default"}
    assert sum(line["message"] == "Provider completion failed" for line in worker) >= len(bad)
    web = [line["context"] for line in found["ai-provider-web.1.log"] if line["message"] == "Request"]
    assert {context.get("tenant") for context in web if context["path"] == "/api/v1/completion"} >= {"default"}
    assert all(context["request_id"] for context in web)
