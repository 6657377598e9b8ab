"""The real processes as a supervisor treats them: probed, asked to end, replaced under load, their Redis full or away."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis as sync_redis

from infrastructure.core.life import reading
from tests.support.fleet import Fleet, kill
from tests.support.hail import Hail, hail
from tests.support.jobs_client import JobsClient
from tests.support.stack import PROGRAM
from tests.support.waiting import eventually, wait_for

KINDS = ("web", "worker", "upkeep", "beat", "flower")
FAST = {
    "AI_PROVIDER_JOBS_LEASE_S": "3",
    "AI_PROVIDER_JOBS_HEARTBEAT_S": "0.5",
    "AI_PROVIDER_WORKER_DRAIN_S": "60",
    "AI_PROVIDER_SERVICE_HUNG_S": "30",
}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet(worker_env=FAST) as running:
        running.worker_env = {**FAST, "TMPDIR": str(running.folder)}
        running.start_web(TMPDIR=str(running.folder))
        running.start_upkeep()
        running.start_flower()
        running.start_worker()
        wait_for(lambda: all(ready(running, kind) for kind in ("completions", "upkeep", "beat")), within_s=60)
        yield running


@pytest.fixture
def jobs(fleet: Fleet) -> JobsClient:
    fleet.sandbox.reset()
    return JobsClient(fleet.url)


def signs(fleet: Fleet, kind: str) -> list[reading.Sign]:
    return reading.signs(kind, folder=fleet.folder / f"ai-provider-{os.getuid()}")


def ready(fleet: Fleet, kind: str) -> bool:
    found = signs(fleet, kind)
    return bool(found) and all(one.ready for one in found)


def probe(fleet: Fleet, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAM), "check", *words], env=fleet.environment(TMPDIR=str(fleet.folder)), timeout=20,
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def in_flight(fleet: Fleet) -> int:
    found: int = fleet.sandbox.counters()["in_flight"]
    return found


def field(fleet: Fleet, job_id: str, name: str) -> bytes | None:
    with sync_redis.Redis.from_url(fleet.redis.url) as client:
        found: bytes | None = client.hget(f"aip:job:{job_id}", name)
        return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_works_passes_both_probes(fleet: Fleet, kind: str) -> None:
    wait_for(lambda: probe(fleet, "--live", kind, "--ready", kind).returncode == 0, within_s=20, every_s=0.5)


def test_a_probe_costs_little_and_one_for_what_does_not_run_fails(fleet: Fleet) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert probe(fleet, "--ready", "worker").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5

    missing = probe(fleet, "--live", "batch")
    assert (missing.returncode, missing.stderr) == (1, "no batch runs here\n")
    assert probe(fleet, "--live", "worker", "--id", "nobody").returncode == 1
    assert probe(fleet, "--live", "nonsense").returncode == 2


def test_a_probe_loads_neither_redis_nor_celery_nor_litellm(fleet: Fleet) -> None:
    script = (
        "import sys; sys.argv[1:] = ['check', '--live', 'worker']\nfrom api.cli.main import run\nstatus = run()\n"
        "print(status, sorted({'litellm', 'celery', 'kombu', 'redis', 'httpx', 'fastapi'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=fleet.environment(TMPDIR=str(fleet.folder)), timeout=20, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "0 []"


def test_check_finds_the_running_service_well_and_changes_nothing(fleet: Fleet) -> None:
    with sync_redis.Redis.from_url(fleet.redis.url) as client:
        writes = client.info("commandstats")
    done = subprocess.run(
        [str(PROGRAM), "check", "--json", "--url", fleet.url], env=fleet.environment(), timeout=20, capture_output=True,
        text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    told = json.loads(done.stdout)
    by_id = {one["id"]: one for one in told["findings"]}

    assert (done.returncode, told["ok"]) == (0, True)
    assert by_id["redis.jobs.persistence"]["status"] == "passed"
    assert by_id["redis.jobs.memory"]["status"] == "warned"
    assert by_id["service.ready"]["status"] == "passed"
    assert told["summary"]["failed"] == 0
    assert writes


def test_a_second_sigterm_hands_back_at_once(fleet: Fleet, jobs: JobsClient) -> None:
    fleet.sandbox.set_faults({"action": {"latency_s": 60}})
    ids = [jobs.submit(f"hurry {number}") for number in range(5)]
    wait_for(lambda: in_flight(fleet) == 5, what="the calls")
    old = fleet.worker
    old.send_signal(signal.SIGTERM)
    wait_for(lambda: any("draining" in one.missing for one in signs(fleet, "completions")), what="the drain")
    assert old.poll() is None
    assert in_flight(fleet) == 5

    fleet.sandbox.set_faults()
    began = time.monotonic()
    old.send_signal(signal.SIGTERM)
    assert old.wait(15) == 0
    assert time.monotonic() - began < 12  # of the 60 s that it had
    assert {jobs.job(job_id)["status"] for job_id in ids} == {"queued"}
    assert signs(fleet, "completions") == []

    fleet.start_worker()
    assert {jobs.wait(job_id, within_s=60)["status"] for job_id in ids} == {"completed"}
    assert {field(fleet, job_id, "deliveries") for job_id in ids} == {b"1"}


def test_a_rolling_restart_under_load_fails_no_job_and_costs_no_delivery(fleet: Fleet, jobs: JobsClient) -> None:
    fleet.sandbox.set_faults({"action": {"latency_s": 1}})
    wait_for(lambda: ready(fleet, "completions"), within_s=60)

    async def roll(found: Hail) -> None:
        old = fleet.worker
        new = await asyncio.to_thread(fleet.start_worker)

        def is_ready() -> bool:
            return any(one.pid == new.pid and one.ready for one in signs(fleet, "completions"))

        await eventually(is_ready, within_s=60, what="the new worker")
        old.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(old.wait, 20) == 0
        await asyncio.sleep(1)

    seen = asyncio.run(hail(fleet.url, rate=10, until=roll))

    assert set(seen.statuses) == {202}
    assert seen.fates == {"completed": len(seen.accepted)}
    assert {field(fleet, job_id, "deliveries") for job_id in seen.accepted} == {b"1"}
    assert {field(fleet, job_id, "deaths") or b"0" for job_id in seen.accepted} == {b"0"}


def sweeps(fleet: Fleet, *, within_s: float) -> int:
    """Return how often somebody sweeps for the dead meanwhile, as Redis itself sees it."""
    count, until = 0, time.monotonic() + within_s
    with sync_redis.Redis.from_url(fleet.redis.url) as client, client.monitor() as monitor:
        for one in monitor.listen():
            count += bool(one["client_type"] == "lua" and one["command"].startswith("HSET aip:sweep "))
            if time.monotonic() > until:
                return count
    return count


def test_two_beats_do_no_harm(fleet: Fleet, jobs: JobsClient) -> None:
    first = fleet.beat
    second = fleet.start_other("workers.main", "beat", **fleet.worker_env)
    try:
        wait_for(lambda: len(signs(fleet, "beat")) == 2 and ready(fleet, "beat"), within_s=30, what="both beats")
        assert jobs.wait(jobs.submit("under two beats"))["status"] == "completed"
        assert 1 <= sweeps(fleet, within_s=3) <= 3 / (0.8 * 0.5) + 1  # once in each slot of 4/5 of a heartbeat
    finally:
        second.send_signal(signal.SIGTERM)
        assert second.wait(10) == 0
    assert first.poll() is None


def test_a_full_redis_refuses_submits_at_once_loses_nothing_and_recovers(fleet: Fleet, jobs: JobsClient) -> None:
    fleet.sandbox.set_faults({"action": {"latency_s": 2}})
    ids = [jobs.submit(f"before it is full {number}") for number in range(10)]
    wait_for(lambda: in_flight(fleet) > 0, what="the calls")
    body = {"model": "default", "messages": [{"role": "user", "content": "x"}]}
    with sync_redis.Redis.from_url(fleet.redis.url) as client, httpx.Client(base_url=fleet.url, timeout=10) as http:
        client.config_set("maxmemory", 1)  # full for whoever writes: also for metrics, marks and messages
        try:
            refused = wait_for(lambda: _refused(http, body), what="a refusal")
            took_ms = []
            for _ in range(20):
                began = time.perf_counter()
                refused = http.post("/api/v1/completion", json=body)
                took_ms.append(1_000 * (time.perf_counter() - began))
                assert (refused.status_code, refused.json()["code"]) == (503, "store_full")
                assert int(refused.headers["Retry-After"]) >= 1
            assert sorted(took_ms)[len(took_ms) // 2] < 50
            ended = [jobs.wait(job_id, within_s=60) for job_id in ids]
            assert {job["status"] for job in ended} == {"completed"}
            assert http.get("/health").status_code == 200
            assert http.get("/metrics").status_code in {200, 404}
            time_to_rescue_s = 4  # more than a lease: whose heartbeat was refused would have been held to be dead
            until = time.monotonic() + time_to_rescue_s
            wait_for(lambda: time.monotonic() > until, within_s=10, every_s=0.2)
            assert ready(fleet, "completions")
            assert fleet.worker.poll() is fleet.upkeep.poll() is fleet.beat.poll() is fleet.web.poll() is None
        finally:
            client.config_set("maxmemory", 0)
        wait_for(lambda: http.post("/api/v1/completion", json=body).status_code == 202, within_s=10, what="recovery")
        fleet.sandbox.set_faults()
        assert jobs.wait(jobs.submit("after it was full"), within_s=30)["status"] == "completed"
    assert {field(fleet, job_id, "deaths") or b"0" for job_id in ids} == {b"0"}


def _refused(http: httpx.Client, body: Any) -> httpx.Response | None:
    answer = http.post("/api/v1/completion", json=body)
    return answer if answer.status_code == 503 else None


def test_without_its_redis_no_process_is_ready_and_all_are_again_when_it_is_back(
    fleet: Fleet, jobs: JobsClient
) -> None:
    fleet.redis.kill()
    try:
        for kind in ("completions", "upkeep", "beat"):
            wait_for(lambda kind=kind: not ready(fleet, kind), within_s=20, what=f"{kind} is not ready")  # type: ignore[misc]
            assert all(one.lives for one in signs(fleet, kind))
        assert probe(fleet, "--ready", "web").returncode == 1
        assert probe(fleet, "--live", "web").returncode == 0
        refused = httpx.post(f"{fleet.url}/api/v1/completion", json={"model": "default", "messages": []}, timeout=10)
        assert refused.status_code in {503, 422}
    finally:
        fleet.redis.start()
    for kind in ("completions", "upkeep", "beat"):
        wait_for(lambda kind=kind: ready(fleet, kind), within_s=20, what=f"{kind} is ready")  # type: ignore[misc]
    assert jobs.wait(jobs.submit("it is back"), within_s=30)["status"] == "completed"


def test_everything_ends_within_its_grace_and_leaves_nothing(fleet: Fleet) -> None:
    children = [one for one in fleet.children if one.poll() is None]
    folder = fleet.folder / f"ai-provider-{os.getuid()}"
    for child in children:
        child.send_signal(signal.SIGTERM)
    for child in children:
        assert child.wait(15) == 0
        kill(child)
        assert not Path(f"/proc/{child.pid}").exists()
    assert list(folder.glob("*.json")) == []
