"""`ai-provider jobs watch` and `jobs dead` against a real front door, which is killed and started meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio as aioredis

from infrastructure.core.redis_core import connect
from tests.support.front_door import FrontDoorProcess
from tests.support.jobs import let_die, must_claim, nonce, submitted, success
from tests.support.redis_server import RedisServer
from tests.support.stack import PROGRAM
from tests.support.waiting import eventually, wait_for
from workers.jobs.models import COMPLETION_CLASSES, ReadyClass
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio
SUSPECTS = (ReadyClass.SUSPECT,)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def front(server: RedisServer) -> Iterator[FrontDoorProcess]:
    front = FrontDoorProcess(server.url).start()
    wait_for(lambda: front.answers("/health/ready"), within_s=30)
    yield front
    front.remove()


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[aioredis.Redis]:
    redis = connect(server.url, max_connections=4)
    await redis.flushall()
    yield redis
    await redis.aclose()


@pytest.fixture
def store(redis: aioredis.Redis) -> JobStore:
    return JobStore(redis)


def start(front: FrontDoorProcess, output: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "AI_PROVIDER_URL": front.url}
    with output.open("wb") as stdout:
        return subprocess.Popen(
            [str(PROGRAM), "jobs", *arguments], env=environment, stdout=stdout, stderr=subprocess.STDOUT
        )


async def said(front: FrontDoorProcess, tmp_path: Path, *arguments: str) -> tuple[int, list[str]]:
    process = start(front, tmp_path / "said", *arguments)
    status = await asyncio.to_thread(process.wait, 60)
    return status, (tmp_path / "said").read_text().splitlines()


async def test_a_watch_goes_on_over_a_kill_of_the_front_door(
    front: FrontDoorProcess, store: JobStore, tmp_path: Path
) -> None:
    [job_id] = await submitted(store)
    output = tmp_path / "watch"
    process = start(front, output, "watch", job_id)
    await eventually(lambda: "queued" in output.read_text(), within_s=60)
    front.stop(signal.SIGKILL)
    claim = await must_claim(store)
    await asyncio.to_thread(front.start)
    await eventually(lambda: "in_progress" in output.read_text(), within_s=60)
    await store.complete(claim.fence, success(), nonce=nonce())
    assert await asyncio.to_thread(process.wait, 30) == 0
    lines = output.read_text().splitlines()
    assert [line.split(" ")[1:] for line in lines[:3]] == [
        ["queued"], ["in_progress", "delivery", "1"], ["completed", "delivery", "1"],
    ]  # fmt: skip
    assert lines[3].startswith(job_id)
    assert len(lines) == 4


async def test_a_watch_of_what_did_not_complete_fails(front: FrontDoorProcess, store: JobStore, tmp_path: Path) -> None:
    [job_id] = await submitted(store)
    await store.cancel(job_id, tenant=None)
    status, lines = await said(front, tmp_path, "watch", job_id, "--json")
    assert status == 1
    assert ['"event": "job.queued"' in lines[0], '"event": "job.cancelled"' in lines[1]] == [True, True]
    assert lines[2].startswith(f"error: job {job_id} cancelled")
    status, lines = await said(front, tmp_path, "watch", "job_" + "0" * 32)
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith("error: there is no such job")


async def test_dead_letters_are_listed_and_retried_once(
    front: FrontDoorProcess, store: JobStore, redis: aioredis.Redis, tmp_path: Path
) -> None:
    old = []
    for _ in range(2):
        old += await submitted(store)
        for classes in (COMPLETION_CLASSES, COMPLETION_CLASSES, SUSPECTS, SUSPECTS):
            await must_claim(store, classes=classes)
            await let_die(redis)
            await store.sweep()
    status, lines = await said(front, tmp_path, "dead")
    assert status == 0
    assert [line.split("\t")[0] for line in lines] == old[::-1]
    assert lines[0].split("\t")[1:3] == ["default", "chat"]
    status, [new] = await said(front, tmp_path, "dead", "--retry", old[0])
    assert status == 0
    status, lines = await said(front, tmp_path, "dead", "--retry-all")
    assert [line.split(" ")[0] for line in lines] == [old[1]]
    assert (await said(front, tmp_path, "dead", "--retry-all"))[1] == ["nothing to retry"]
    _, lines = await said(front, tmp_path, "dead")
    assert lines[1].split("\t")[-1] == new
