"""The directory of services on a real Redis: the guide's dictionary, heartbeats, and the dead who vanish."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as aioredis

from infrastructure.optional.service_discovery import (
    Directory,
    Registration,
    deregister_service,
    discover,
    register_service,
)
from infrastructure.optional.service_discovery import directory as module
from tests.support.machine import in_time
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

GUIDE: dict[str, Any] = {
    "name": "ai-provider",
    "host": "ai-provider-service",
    "port": 8005,
    "health_check": "/health",
    "tags": ["ai", "llm", "routing"],
    "metadata": {
        "version": "2.1.0",
        "providers": ["openai", "anthropic", "google", "deepseek"],
        "features": ["caching", "failover", "cost-tracking"],
    },
}
KILLED = """
import asyncio, os
from infrastructure.core.redis_core import connect
from infrastructure.optional.service_discovery import Directory, register_service
async def main():
    directory = Directory(connect(os.environ["REDIS_URL"], max_connections=2), ttl_s=2)
    registration = await register_service({"name": "mortal", "host": "h"}, directory=directory)
    assert registration.heard
    print("registered", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def mortal(redis_url: str) -> subprocess.Popen[str]:
    """Start a process that registers itself, and return it when it has."""
    environment = {"REDIS_URL": redis_url, "PYTHONPATH": "."}
    child = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, env=environment)
    assert child.stdout is not None
    assert child.stdout.readline() == "registered\n"
    return child


async def test_the_guides_example_registers_is_found_and_leaves(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    registration = await register_service(GUIDE)
    (found,) = await discover("ai-provider")
    assert found.as_json() == {**GUIDE, "id": registration.instance.id}
    assert await discover("ai-provider", tag="llm") == [found]
    assert await discover("ai-provider", tag="other") == []
    assert await discover("ai") == []
    await deregister_service(registration)
    assert await discover("ai-provider") == []


async def test_several_instances_of_several_services_are_told_apart(redis: aioredis.Redis) -> None:
    directory = Directory(redis)
    made = [
        await register_service({"name": name, "host": "h", "id": f"{name}-{n}"}, directory=directory)
        for name in ("one", "two")
        for n in (1, 2)
    ]
    assert [one.id for one in await directory.discover("one")] == ["one-1", "one-2"]
    assert len(await directory.discover()) == 4
    assert await Directory(redis, prefix="other").discover() == []
    for registration in made:
        await deregister_service(registration)
    assert await redis.keys("*") == []


async def test_a_killed_process_vanishes_when_its_time_is_up_which_is_less_than_15_s(redis_url: str) -> None:
    assert module.TTL_S < 15
    assert module.TTL_S >= 3 * module.HEARTBEAT_S
    child = mortal(redis_url)
    async with aioredis.Redis.from_url(redis_url) as client:
        directory = Directory(client, ttl_s=2)
        assert len(await directory.discover("mortal")) == 1
        child.kill()
        child.communicate()
        started = time.monotonic()
        await eventually(lambda: _gone(directory), within_s=5, every_s=0.1)
        assert in_time(time.monotonic() - started, 5)
        await eventually(lambda: _empty(client), within_s=2, what="no key is left")


async def _gone(directory: Directory) -> bool:
    return await directory.discover("mortal") == []


async def _empty(client: aioredis.Redis) -> bool:
    return await client.keys("*") == []


async def test_the_living_stay_by_their_heartbeat(redis: aioredis.Redis) -> None:
    directory = Directory(redis, ttl_s=0.3)
    registration = Registration(directory, {"name": "alive", "host": "h"}, heartbeat_s=0.05)
    await registration.start()
    registration.ping()
    until = time.monotonic() + 1
    seen = 0

    async def look() -> bool:
        nonlocal seen
        assert len(await directory.discover("alive")) == 1
        seen += 1
        return time.monotonic() > until

    await eventually(look, every_s=0.05)
    await registration.stop()
    assert seen > 5
    with pytest.raises(RuntimeError, match="expected the registration's heartbeat"):
        registration.ping()


async def test_a_registration_made_while_redis_is_away_is_written_when_it_comes() -> None:
    server = RedisServer()
    client = aioredis.Redis(unix_socket_path=str(server.socket))
    directory = Directory(client)
    registration = Registration(directory, {"name": "early", "host": "h"}, heartbeat_s=0.05)
    try:
        await registration.start()
        assert not registration.heard
        server.start()
        await eventually(lambda: registration.heard)
        assert len(await directory.discover("early")) == 1
    finally:
        await registration.stop()
        await client.aclose()
        server.remove()


async def test_what_changes_while_a_process_lives_is_told_by_its_next_heartbeat(redis: aioredis.Redis) -> None:
    directory, version = Directory(redis), ["v1"]
    service = {"name": "s", "host": "h", "metadata": {"config": "v0", "kind": "web"}}
    registration = Registration(directory, service, heartbeat_s=0.02, fresh=lambda: {"config": version[0]})
    await registration.start()
    (found,) = await directory.discover("s")
    assert found.metadata == {"config": "v1", "kind": "web"}
    version[0] = "v2"

    async def told() -> bool:
        (found,) = await directory.discover("s")
        return bool(found.metadata["config"] == "v2")

    await eventually(told)
    await registration.stop()


async def test_the_same_registration_twice_is_one_entry_and_both_leave_their_connections(
    redis: aioredis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    before = len(await redis.client_list())
    first, second = [await register_service({"name": "s", "host": "h", "id": "s-1"}) for _ in range(2)]
    assert len(await discover("s")) == 1
    await deregister_service(first)
    await deregister_service(second)
    await deregister_service(second)
    assert await discover("s") == []

    async def left() -> bool:
        return len(await redis.client_list()) == before

    await eventually(left, what="their connections are closed")


async def test_foreign_words_in_the_directory_are_passed_over_and_end_no_heartbeat(redis: aioredis.Redis) -> None:
    directory = Directory(redis)
    await redis.set("aip:services", "no sorted set")
    registration = Registration(directory, {"name": "s", "host": "h", "id": "s-1"}, heartbeat_s=0.02)
    await registration.start()
    assert not registration.heard
    await redis.delete("aip:services")
    await eventually(lambda: registration.heard)
    soon = 9_999_999_999_999
    await redis.zadd("aip:services", {b"s:\xff": soon, b"s:1": soon, b"s:2": soon, b"s:none": soon})
    await redis.set("aip:service:s:1", b"\xff")
    await redis.set("aip:service:s:2", b'{"tags": 1}')
    assert [one.id for one in await directory.discover("s")] == ["s-1"]
    assert [one.id for one in await directory.discover()] == ["s-1"]
    await registration.stop()


async def test_every_key_of_the_directory_expires(redis: aioredis.Redis) -> None:
    registration = await register_service(GUIDE, directory=Directory(redis))
    keys = await redis.keys("*")
    assert len(keys) == 2
    for key in keys:
        assert 0 < await redis.pttl(key) <= 12_000
    await deregister_service(registration)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a:b"}, "expected name"),
        ({"name": ""}, "expected name"),
        ({"host": " "}, "expected host"),
        ({"port": 0}, "expected port"),
        ({"port": True}, "expected port"),
        ({"port": "8005"}, "expected port"),
        ({"health_check": "health"}, "expected health_check"),
        ({"health_check": Path("/health")}, "expected health_check"),
        ({"host": "\ud800"}, "expected host"),
        ({"tags": "ai"}, "expected tags"),
        ({"tags": ["a b"]}, "expected tags"),
        ({"metadata": {"x": object()}}, "expected metadata"),
        ({"metadata": {"x": "y" * 10_000}}, "expected metadata"),
        ({"prot": 1}, "expected no field but"),
    ],
)
async def test_a_description_that_breaks_a_rule_is_refused(
    redis: aioredis.Redis, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        await register_service({**GUIDE, **change}, directory=Directory(redis))
