"""A worker outlives its Redis: killed and started again with work in flight, and away while the worker ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pool_worker import PoolWorker
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_for


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer(appendonly=True).start()
    yield server
    server.remove()


def restart(server: RedisServer, worker: PoolWorker) -> None:
    """Kill the server, see the worker live without it, and start it on the same data."""
    server.kill()
    gone = worker.alive.stat().st_mtime_ns
    wait_for(lambda: worker.alive.stat().st_mtime_ns > gone, what="life shown while Redis is away")
    server.start()


@pytest.mark.parametrize("acks", ["0", "1"])
def test_a_worker_goes_on_after_its_redis_was_killed_with_work_in_flight(
    server: RedisServer, tmp_path: Path, acks: str
) -> None:
    worker = PoolWorker(server.url, tmp_path, concurrency=20, POOL_APP_ACKS=acks)
    try:
        worker.start()
        worker.send("hold", "early")
        worker.send("hold_late", "late")
        worker.notes("began:early")
        worker.notes("began:late")
        for round_ in range(2):
            restart(server, worker)
            worker.send("hold", f"after {round_}")
            worker.notes(f"began:after {round_}", within_s=15)
            assert not worker.ended()
        for gate in ("early", "after 0", "after 1"):
            worker.open(gate)
            assert worker.notes(f"ended:{gate}")[0].endswith(" opened")
        worker.open("late")
        wait_for(lambda: worker.ask("stats")["pool"]["in-flight"] == 0)
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    finally:
        worker.remove()


def test_a_worker_ends_in_time_while_its_redis_is_away(server: RedisServer, tmp_path: Path) -> None:
    worker = PoolWorker(server.url, tmp_path, concurrency=20, POOL_APP_DRAIN_S="0.2")
    try:
        worker.start()
        server.kill()
        gone = worker.alive.stat().st_mtime_ns
        wait_for(lambda: worker.alive.stat().st_mtime_ns > gone)
        worker.signal(signal.SIGTERM)
        worker.wait()
    finally:
        worker.remove()
