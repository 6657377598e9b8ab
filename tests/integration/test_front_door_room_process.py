"""The front door as a process, with more submits at once than there is room for, and those who wait for room."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import redis as sync_redis

from api.cli.asking import Asker, connection
from api.cli.tally import Tally
from tests.support.front_door import BODY, FrontDoorProcess
from tests.support.jobs import audit
from tests.support.redis_server import RedisServer
from tests.support.stack import PROGRAM
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
LIMITS = {"AI_PROVIDER_LIMITS_QUEUED_PER_TENANT": "3"}


@pytest.fixture(scope="module")
def door(redis_server: RedisServer) -> Iterator[FrontDoorProcess]:
    with sync_redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    door = FrontDoorProcess(redis_server.url, **LIMITS).start()
    yield door
    door.remove()


async def _answers(url: str, bodies: list[dict[str, Any]], key: str | None) -> list[tuple[int, str, dict[str, Any]]]:
    headers = {} if key is None else {"Idempotency-Key": key}
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:

        async def one(body: dict[str, Any]) -> tuple[int, str, dict[str, Any]]:
            async with session.post(f"{url}/api/v1/completion", json=body, headers=headers) as answer:
                return answer.status, answer.headers.get("Idempotency-Replayed", ""), await answer.json()

        return await asyncio.gather(*(one(body) for body in bodies))


async def test_a_thousand_submits_at_once_under_one_key_make_one_job(
    door: FrontDoorProcess, redis_server: RedisServer
) -> None:
    answers = await _answers(door.url, [BODY] * 1_000, "one")
    # On a machine with other things to do some are told after 5 s that the store does not answer, and may ask again.
    taken = [(replayed, told["id"]) for status, replayed, told in answers if status == 202]
    assert {told.get("code") for status, _, told in answers if status != 202} <= {"store_unavailable"}
    assert len({job_id for _, job_id in taken}) == 1
    assert sum(replayed == "" for replayed, _ in taken) <= 1
    changed = await _answers(door.url, [{**BODY, "max_tokens": 10 + number} for number in range(20)], "one")
    assert Counter((status, job["code"]) for status, _, job in changed) == {(422, "idempotency_key_reused"): 20}
    with sync_redis.Redis.from_url(redis_server.url) as client:
        assert len([*client.scan_iter("aip:job:*")]) == 1
        assert audit(client) == []


async def test_the_command_line_says_that_there_is_no_room(door: FrontDoorProcess) -> None:
    await _answers(door.url, [BODY] * 4, None)  # no worker runs: what is in stays in
    program = await asyncio.create_subprocess_exec(
        str(PROGRAM), "submit", "hello", "--url", door.url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complained = await asyncio.wait_for(program.communicate(), 60)
    assert program.returncode == 1
    assert said == b""
    assert b"as many of your jobs wait as may; nothing was submitted" in complained


async def test_the_command_line_waits_for_room_where_it_waits_anyway(door: FrontDoorProcess) -> None:
    async with aiohttp.ClientSession(door.url) as session:

        async def cancel_all() -> list[str]:
            async with session.get("/api/v1/jobs?status=queued") as answer:
                ids = [job["id"] for job in (await answer.json())["data"]]
            for job_id in ids:
                await (await session.post(f"/api/v1/jobs/{job_id}/cancel")).read()
            return ids

        for _ in range(15):  # so that the queue drains by some jobs a second, and Retry-After is short
            await cancel_all()
            await _answers(door.url, [BODY] * 3, None)
        program = await asyncio.create_subprocess_exec(
            str(PROGRAM), "submit", "hello", "--wait", "--timeout", "60", "--json", "--url", door.url,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert program.stdout is not None
        assert program.stderr is not None
        noted = await asyncio.wait_for(program.stderr.readline(), 30)
        assert b"No room in the queue yet: trying again in" in noted
        ended: list[str] = []

        async def made_room() -> bool:
            ended.extend(await cancel_all())
            return program.returncode is not None

        await eventually(made_room, within_s=60, every_s=0.2, what="the command line has got its job in")
        job = json.loads(await program.stdout.read())
    assert (job["status"], job["id"] in ended) == ("cancelled", True)


async def test_the_demo_waits_for_room_as_long_as_it_takes(door: FrontDoorProcess) -> None:
    await _answers(door.url, [BODY] * 4, None)
    async with connection(door.url, api_key=None, concurrency=8) as http:
        asker = Asker(http, Tally(4), model="default", concurrency=4)
        asking = asyncio.create_task(asker.run([f"question {number}" for number in range(4)], earlier=(), keep=4))

        async def made_room() -> bool:
            page = (await http.get("/api/v1/jobs", params={"status": "queued"})).json()["data"]
            for job in page:
                await http.post(f"/api/v1/jobs/{job['id']}/cancel")
            return asking.done()

        await eventually(made_room, within_s=60, every_s=0.05, what="every question has got in")
    assert {job["status"] for _, job in await asking} == {"cancelled"}


async def test_two_hundred_different_submits_at_once_pass_no_limit(
    door: FrontDoorProcess, redis_server: RedisServer
) -> None:
    bodies = [{**BODY, "metadata": {"n": str(number)}} for number in range(200)]
    answers = await _answers(door.url, bodies, None)
    with sync_redis.Redis.from_url(redis_server.url) as client:
        assert client.zcard("aip:ready:normal:default") == 3
    statuses = Counter(status for status, _, _ in answers)
    assert statuses[202] <= 3
    assert statuses[202] + statuses[429] == 200
