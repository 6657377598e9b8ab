"""Real servers set up badly in their own ways: what the check finds, what a process says once, and what it refuses to run on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import redis as sync_redis

from infrastructure.core.redis_check import Role, Status, check_redis
from infrastructure.core.redis_core import connect
from tests.support.front_door import SANDBOX, FrontDoorProcess
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_for

pytestmark = pytest.mark.anyio
WEAK = "A crash of Redis can lose accepted jobs"


@pytest.fixture(scope="module")
def weak() -> Iterator[RedisServer]:
    """A server without an append-only file, whose user `service` may not ask for settings."""
    server = RedisServer().start()
    with sync_redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "service", "on", "nopass", "~*", "&*", "+@all", "-config")
    yield server
    server.remove()


async def test_a_server_s_settings_are_read_and_judged(weak: RedisServer) -> None:
    async with connect(weak.url, max_connections=2) as redis:
        by_id = {one.id: one for one in await check_redis(redis, Role.JOBS)}

    assert by_id["reachable"].status is Status.PASSED
    assert (by_id["persistence"].status, by_id["persistence"].found) == (Status.FAILED, "appendonly no")
    assert by_id["connections"].found == "timeout 0, tcp-keepalive 300"
    assert by_id["scripts"].status is Status.PASSED
    assert by_id["version"].status is Status.PASSED


async def test_where_config_is_forbidden_info_is_believed_and_the_rest_is_unknown(weak: RedisServer) -> None:
    async with connect(f"{weak.url}?username=service&password=any", max_connections=2) as redis:
        by_id = {one.id: one for one in await check_redis(redis, Role.JOBS)}

    assert by_id["persistence"].status is Status.FAILED
    assert by_id["eviction"].status is Status.PASSED
    assert by_id["connections"].status is Status.SKIPPED
    assert "may not ask CONFIG GET" in by_id["connections"].found


async def test_a_server_that_is_not_there_is_the_only_finding() -> None:
    async with connect("redis://127.0.0.1:1", max_connections=1, wait_s=1, socket_timeout_s=1) as redis:
        (found,) = await check_redis(redis, Role.JOBS)

    assert (found.id, found.status) == ("reachable", Status.FAILED)


def test_a_process_says_once_what_is_wrong_however_often_it_is_started(weak: RedisServer) -> None:
    for expected in (1, 0):
        front = FrontDoorProcess(weak.url)
        try:
            front.start(wait=False)
            wait_for(lambda front=front: front.answers("/health/ready"), within_s=40, what="it is ready")  # type: ignore[misc]
            if expected:
                wait_for(lambda front=front: front.log_lines(WEAK), within_s=20, what="the line")  # type: ignore[misc]
            else:
                with sync_redis.Redis.from_url(weak.url) as client:
                    # The second start has looked, too: it asked for the settings.
                    wait_for(lambda: client.info("commandstats")["cmdstat_config|get"]["calls"] >= 22)
            assert front.stop() == 0
            assert len(front.log_lines(WEAK)) == expected
        finally:
            front.remove()


@pytest.mark.parametrize("command", [("api.main",), ("workers.main", "upkeep")])
def test_a_cluster_is_refused_in_a_sentence_and_with_the_status_of_a_bad_configuration(
    command: tuple[str, ...], cluster: RedisServer
) -> None:
    variables = {**os.environ, "REDIS_URL": cluster.url, "AI_PROVIDER_PORT": "0", "AI_PROVIDER_SANDBOX_URL": SANDBOX,
                 "AI_PROVIDER_DATA_DIR": str(cluster.folder), "AI_PROVIDER_WORKER_DRAIN_S": "1"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", *command], env=variables, timeout=60, capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert "redis.jobs: cluster mode: scripts and the broker cannot work across slots" in done.stderr


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisServer]:
    server = RedisServer(extra=("--cluster-enabled", "yes", "--port", "0")).start()
    yield server
    server.remove()
