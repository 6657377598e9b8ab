"""How a worker process ends: warm, past its drain deadline, and cold."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.machine import in_time
from tests.support.pool_worker import PoolWorker
from tests.support.redis_server import RedisServer

Start = Callable[..., PoolWorker]


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Iterator[Start]:
    started: list[PoolWorker] = []

    def one(**env: str) -> PoolWorker:
        started.append(PoolWorker(redis_url, tmp_path, concurrency=20, **env))
        return started[-1].start()

    yield one
    for worker in started:
        worker.remove()


def test_a_warm_shutdown_waits_for_what_runs_and_takes_nothing_new(start: Start) -> None:
    worker = start(POOL_APP_DRAIN_S="20")
    worker.send("hold", "gate")
    worker.notes("began:gate")
    worker.signal(signal.SIGTERM)
    assert worker.notes("life", 2) == ["start", "drain"]
    worker.send("noop")
    worker.open("gate")
    assert worker.notes("ended:gate")[0].endswith(" opened")
    assert worker.wait() == 0
    assert worker.redis.lrange("life", 0, -1) == ["start", "drain", "stop"]
    assert worker.redis.llen("pool") == 1


def test_what_runs_past_the_drain_deadline_is_told_to_hand_back(start: Start) -> None:
    worker = start(POOL_APP_DRAIN_S="0.5")
    held = {worker.send("hold", "gate") for _ in range(5)}
    worker.notes("began:gate", 5)
    worker.signal(signal.SIGTERM)
    assert set(worker.notes("ended:gate", 5)) == {f"{task_id} Drained" for task_id in held}
    assert worker.wait() == 0
    assert worker.redis.lrange("life", 0, -1) == ["start", "drain", "stop"]


def test_a_cold_shutdown_has_all_work_handed_back_at_once(start: Start) -> None:
    worker = start(POOL_APP_DRAIN_S="60")
    held = {worker.send("hold", "gate") for _ in range(5)}
    worker.notes("began:gate", 5)
    began = time.monotonic()
    worker.signal(signal.SIGQUIT)
    assert set(worker.notes("ended:gate", 5)) == {f"{task_id} Drained" for task_id in held}
    worker.wait()
    assert in_time(time.monotonic() - began, 5)
    assert "Error" not in worker.log.read_text()
    assert worker.redis.lrange("life", 0, -1) == ["start", "drain", "stop"]


def test_a_cold_shutdown_cuts_a_warm_one_short(start: Start) -> None:
    worker = start(POOL_APP_DRAIN_S="60")
    task_id = worker.send("hold", "gate")
    worker.notes("began:gate")
    worker.signal(signal.SIGTERM)
    worker.notes("life", 2)
    worker.signal(signal.SIGQUIT)
    assert worker.notes("ended:gate") == [f"{task_id} Drained"]
    worker.wait()
    assert worker.redis.lrange("life", 0, -1) == ["start", "drain", "stop"]


def test_a_body_that_ignores_everything_does_not_keep_the_process(start: Start) -> None:
    worker = start(POOL_APP_DRAIN_S="0.2", POOL_APP_GRACE_S="0.3", POOL_APP_STOP_S="0.5")
    worker.send("stubborn", "gate")
    worker.notes("began:gate")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert worker.redis.lrange("ended:gate", 0, 10) == ["Drained"] * 11


def test_a_runtime_that_cannot_start_ends_the_process_with_a_failure(redis_server: RedisServer, tmp_path: Path) -> None:
    worker = PoolWorker(redis_server.url, tmp_path, concurrency=1, POOL_APP_FAIL="1")
    try:
        with pytest.raises(AssertionError):
            worker.start()
        assert worker.wait() != 0
    finally:
        worker.remove()
