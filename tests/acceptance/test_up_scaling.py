"""Auto-scaling under a real `ai-provider up`: the queue grows, a second worker comes, it goes again, and no job fails."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.stack import Home
from tests.support.waiting import wait_for

JOBS = 60


@pytest.fixture
def home() -> Iterator[Home]:
    home = Home(
        AI_PROVIDER_SCALING_COMPLETIONS_MAX="2",
        AI_PROVIDER_SCALING_COMPLETIONS_DEPTH="5",
        AI_PROVIDER_SCALING_COMPLETIONS_GROW_AFTER_S="1",
        AI_PROVIDER_SCALING_COMPLETIONS_SHRINK_AFTER_S="3",
        AI_PROVIDER_SCALING_COMPLETIONS_COOLDOWN_S="1",
        AI_PROVIDER_WORKER_CONCURRENCY="3",
    )
    yield home
    home.remove()


def workers(home: Home) -> int:
    return sum("workers.main completions" in words for words in home.processes())


def submit(home: Home, number: int) -> str:
    body = {
        "model": "default",
        "messages": [{"role": "user", "content": f"Question {number}?"}],
        "cache": {"mode": "off"},
    }
    answer = httpx.post(f"{home.url}/api/v1/completion", json=body, timeout=30)
    assert answer.status_code == 202
    job_id: str = answer.json()["id"]
    return job_id


def queue(home: Home) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{home.url}/api/v1/queues", timeout=10).json()["data"][0]
    return found


def test_the_number_of_workers_follows_the_queue_and_no_job_fails(home: Home) -> None:
    up = home.up("--no-flower")
    assert workers(home) == 1
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda number: submit(home, number), range(JOBS)))
    assert queue(home)["workers"]["recommended"] == 2

    up.wait_for_line("1 to 2 workers", within_s=20)
    wait_for(lambda: queue(home)["workers"]["now"] == 2, within_s=40, what="the second worker lives")
    wait_for(lambda: queue(home)["ready"] == 0, within_s=60, what="the queue is empty")
    up.wait_for_line("2 to 1 worker", within_s=40)
    wait_for(lambda: workers(home) == 1, within_s=20, what="the second worker has gone")

    jobs = [httpx.get(f"{home.url}/api/v1/jobs/{job_id}?wait=30", timeout=40).json() for job_id in ids]
    assert {job["status"] for job in jobs} == {"completed"}
    assert not any("starting again" in line for line in up.lines)
    events = httpx.get(f"{home.url}/api/v1/events").json()["data"]
    assert [event["data"]["workers"] for event in reversed(events) if event["topic"] == "fleet.scaled"] == [2, 1]
    assert {"worker.ready", "worker.draining", "worker.stopped"} <= {event["topic"] for event in events}
    tags = [one["metadata"]["kind"] for one in httpx.get(f"{home.url}/api/v1/infrastructure/services").json()["data"]]
    assert sorted(tags) == ["completions", "upkeep", "web"]

    up.signal(signal.SIGINT)
    assert up.wait(within_s=10) == 0
    assert home.processes() == []
