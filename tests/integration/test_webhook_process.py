"""Webhooks through the real processes: front door, worker, upkeep, beat, command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from api.cli import webhooks as commands
from api.cli.errors import CommandFailed
from tests.chaos import webhooks as chaos
from tests.support.fleet import Fleet
from tests.support.front_door import complete_next
from tests.support.jobs import shared_store
from tests.support.jobs_client import JobsClient
from tests.support.stack import PROGRAM
from tests.support.waiting import eventually
from tests.support.webhooks import Receiver, receiving

pytestmark = pytest.mark.anyio
PROMPT_S = 1.0


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Fleet(worker_env={"AI_PROVIDER_WEBHOOKS_ALLOW_LOOPBACK": "true"}) as fleet:
        fleet.start_upkeep()
        fleet.start_web(AI_PROVIDER_WEBHOOKS_ALLOW_LOOPBACK="true")
        yield fleet


def registered(fleet: Fleet, url: str) -> dict[str, Any]:
    """Return an endpoint that the program has registered."""
    done = subprocess.run(
        [str(PROGRAM), "webhooks", "create", url, "--json", "--url", fleet.url],
        capture_output=True, text=True, timeout=60, check=False, env=fleet.environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "not shown again" in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _told(receiver: Receiver, job_id: str) -> bool:
    return job_id in receiver.events


async def test_an_endpoint_hears_of_a_jobs_end_within_about_a_second(fleet: Fleet) -> None:
    client = JobsClient(fleet.url)
    async with receiving() as receiver, shared_store(fleet.redis.url) as store:
        endpoint = await asyncio.to_thread(registered, fleet, receiver.url)
        await asyncio.to_thread(commands.test, endpoint["id"], url=fleet.url, as_json=False)
        await eventually(lambda: receiver.requests, within_s=60, what="upkeep runs, and sends the test event")
        waits = []
        for number in range(3):
            job_id = await asyncio.to_thread(client.submit, f"What is {number}?", webhook=endpoint["id"])
            assert await complete_next(store) == job_id
            ended = time.monotonic()
            await eventually(partial(_told, receiver, job_id), within_s=30, what="its end is told")
            waits.append(time.monotonic() - ended)
            assert receiver.events[job_id] == ["job.completed"]
        for one in receiver.requests:
            Webhook(endpoint["secret"]).verify(one.body, one.headers)
        assert min(waits) < PROMPT_S


async def test_the_command_line_does_all_that_can_be_done(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    async def said(command: Callable[..., None], *arguments: str, **more: Any) -> str:
        await asyncio.to_thread(command, *arguments, url=fleet.url, **more)
        return capsys.readouterr().out

    async with receiving() as receiver:
        made = await said(commands.create, receiver.url, description="mine", as_json=False)
        endpoint_id, secret = made.split()
        event_id = (await said(commands.test, endpoint_id, as_json=False)).split()[0]
        await eventually(lambda: receiver.counts[event_id] == 1, within_s=30, what="it is sent")

        async def delivered() -> bool:
            rows = await said(commands.deliveries, endpoint_id, limit=5, after=None, as_json=False)
            return rows.split("\t")[:4] == [event_id, "delivered", "webhook.test", endpoint_id]

        await eventually(delivered, every_s=0.2)
        assert await said(commands.replay, endpoint_id, event_id, as_json=False) == f"{event_id} pending\n"
        await eventually(lambda: receiver.counts[event_id] == 2, within_s=30, what="it is sent again")
        rotated = (await said(commands.rotate, endpoint_id, as_json=False)).split()
        assert rotated[0] == endpoint_id
        assert rotated[1] != secret
        shown = await said(commands.enable, endpoint_id, enabled=False, as_json=False)
        assert "disabled" in shown
        assert "enabled" in await said(commands.enable, endpoint_id, enabled=True, as_json=False)
        assert "mine" in await said(commands.show, endpoint_id, as_json=False)
        listed = await said(commands.list_endpoints, as_json=False)
        assert [endpoint_id, "enabled"] in [line.split("\t")[:2] for line in listed.splitlines()]
        assert await said(commands.delete, endpoint_id) == f"{endpoint_id} deleted\n"
        with pytest.raises(CommandFailed, match="no such webhook endpoint"):
            await said(commands.show, endpoint_id, as_json=False)
        with pytest.raises(CommandFailed, match="whk_"):
            await said(commands.show, "whk_../jobs", as_json=False)


async def test_an_upkeep_that_is_killed_while_it_sends_loses_no_event() -> None:
    """In full: `make chaos`."""
    broken = [row for row in await chaos.killed(1) if not row.ok]
    assert broken == []


async def test_cancels_that_race_completions_are_never_contradicted() -> None:
    broken = [row for row in await chaos.raced(40) if not row.ok]
    assert broken == []


async def test_the_other_scenarios_of_the_chaos_suite_hold() -> None:
    broken = [row for row in [*await chaos.hostile(), chaos.verified(20)] if not row.ok]
    assert broken == []
