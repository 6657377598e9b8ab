"""Auto-scaling under a real `ai-provider up`: the queue grows, a second worker comes, it goes again, and no job fails."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.support.stack import Home, Program
from tests.support.waiting import wait_for

WAITING = 6
MORE = 5
EVERY_S = 0.2  # each look costs the service time that it is to be measured without


@pytest.fixture
def home() -> Iterator[Home]:
    home = Home(
        AI_PROVIDER_SCALING_COMPLETIONS_MAX="2",
        AI_PROVIDER_SCALING_COMPLETIONS_DEPTH="5",
        AI_PROVIDER_SCALING_COMPLETIONS_GROW_AFTER_S="0.2",
        AI_PROVIDER_SCALING_COMPLETIONS_SHRINK_AFTER_S="1",
        AI_PROVIDER_SCALING_COMPLETIONS_COOLDOWN_S="0.2",
        AI_PROVIDER_WORKER_CONCURRENCY="3",
    )
    yield home
    home.remove()


def workers(home: Home) -> int:
    return sum("workers.main completions" in words for words in home.processes())


@pytest.fixture
def client(home: Home) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=home.url, timeout=40) as client:
        yield client


def submit(client: httpx.Client, number: int) -> str:
    body = {
        "model": "default",
        "messages": [{"role": "user", "content": f"Question {number}?"}],
        "cache": {"mode": "off"},
    }
    answer = client.post("/api/v1/completion", json=body)
    assert answer.status_code == 202
    job_id: str = answer.json()["id"]
    return job_id


def queue(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/v1/queues").json()["data"][0]
    return found


def data(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(path).json()["data"]
    return found


def service_ids(up: Program) -> dict[str, list[str]]:
    """Return the number that each process was given, by kind, as its environment says it."""
    found: dict[str, list[str]] = {}
    for process in psutil.Process(up.pid).children():
        words = process.cmdline()
        if {"api.main", "workers.main"} & set(words):
            found.setdefault(words[-1], []).append(process.environ()["AI_PROVIDER_SERVICE_ID"])
    return found


def test_the_number_of_workers_follows_the_queue_and_no_job_fails(home: Home, client: httpx.Client) -> None:
    up = home.start("up", "--no-flower")
    up.wait_for_line("AI Provider is up")
    assert workers(home) == 1
    ids = [submit(client, number) for number in range(3 * WAITING)]
    assert queue(client)["workers"]["recommended"] == 2

    up.wait_for_line("1 to 2 workers", within_s=20)

    def helped() -> bool:
        """Say whether the second worker has ended a job; until then there is always one for it."""
        if queue(client)["ready"] < WAITING:
            ids.extend(submit(client, len(ids)) for _ in range(MORE))
        return any(line.startswith("worker.2") and "AI completion successful" in line for line in list(up.lines))

    wait_for(helped, within_s=60, every_s=EVERY_S, what="the second worker has ended a job")
    assert queue(client)["workers"]["now"] == 2
    assert service_ids(up) == {"api.main": ["001"], "completions": ["002", "005"], "upkeep": ["003"], "beat": ["004"]}
    up.signal(signal.SIGHUP)  # nobody ends, and every process reads its configuration again
    wait_for(lambda: queue(client)["ready"] == 0, within_s=60, every_s=EVERY_S, what="the queue is empty")
    up.wait_for_line("2 to 1 worker", within_s=40)
    wait_for(lambda: workers(home) == 1, within_s=20, every_s=EVERY_S, what="the second worker has gone")

    jobs = [client.get(f"/api/v1/jobs/{job_id}?wait=30").json() for job_id in ids]
    assert {job["status"] for job in jobs} == {"completed"}
    for kind in ("web", "worker", "upkeep", "beat"):
        assert [line for line in up.lines if line.startswith(f"{kind} ") and "as a signal asks" in line]
    assert not any("starting again" in line for line in up.lines)
    events = data(client, "/api/v1/events")
    assert [event["data"]["workers"] for event in reversed(events) if event["topic"] == "fleet.scaled"] == [2, 1]
    assert {"worker.ready", "worker.draining", "worker.stopped"} <= {event["topic"] for event in events}
    tags = [one["metadata"]["kind"] for one in data(client, "/api/v1/infrastructure/services")]
    assert sorted(tags) == ["completions", "upkeep", "web"]

    up.signal(signal.SIGINT)
    assert up.wait(within_s=10) == 0
    assert home.processes() == []
