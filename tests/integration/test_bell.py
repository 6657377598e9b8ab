"""The doorbell: what it sends, and that it neither blocks nor gives up."""

from __future__ import annotations

import base64
import json
from typing import Any

import redis as sync_redis

from infrastructure.core.config_core import Settings, load
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_for
from workers.jobs.bell import Bell

LIST = "aip:mq:completions"


def settings(url: str) -> Settings:
    return load({"REDIS_URL": url}).settings


def test_a_message_is_a_job_id_and_nothing_else(redis_url: str) -> None:
    bell = Bell(settings(redis_url))
    bell.start()
    bell.ring("job_1")
    bell.stop()

    client = sync_redis.Redis.from_url(redis_url)
    raw = client.lindex(LIST, 0)
    client.close()
    assert raw is not None
    message: dict[str, Any] = json.loads(raw)
    assert json.loads(base64.b64decode(message["body"]))[0] == ["job_1"]
    assert message["headers"]["id"] == "job_1"
    assert message["headers"]["argsrepr"] == "('job_1',)"


def test_every_ring_of_a_burst_is_one_message(redis_url: str) -> None:
    bell = Bell(settings(redis_url))
    bell.start()
    for number in range(1_234):
        bell.ring(f"job_{number}")
    bell.stop(timeout_s=20)

    client = sync_redis.Redis.from_url(redis_url)
    assert client.llen(LIST) == 1_234
    client.close()


def test_rings_while_the_broker_is_away_are_sent_when_it_is_back() -> None:
    server = RedisServer().start()
    try:
        bell = Bell(settings(server.url))
        bell.start()
        bell.ring("first")
        client = sync_redis.Redis.from_url(server.url)
        wait_for(lambda: client.llen(LIST) == 1, what="the first ring")
        client.close()
        server.kill()
        bell.ring("second")
        server.start()

        client = sync_redis.Redis.from_url(server.url)
        wait_for(lambda: client.llen(LIST) == 1, within_s=15, what="the second ring")
        client.close()
        bell.stop()
    finally:
        server.remove()
