"""What Celery asks of a pool, asked of real worker processes by real messages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.pool_worker import Events, PoolWorker
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_for

SMALL = 3
WIDE = 400


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def small_server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def worker(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolWorker]:
    """A worker with room for all; kombu registers its messages until they are acknowledged."""
    worker = PoolWorker(server.url, tmp_path_factory.mktemp("wide"), concurrency=WIDE).start()
    yield worker
    worker.remove()


@pytest.fixture(scope="module")
def small(small_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolWorker]:
    """A worker with three places, with kombu's registration of messages off, as the service has it."""
    folder = tmp_path_factory.mktemp("small")
    worker = PoolWorker(small_server.url, folder, concurrency=SMALL, POOL_APP_ACKS="0", POOL_APP_GRACE_S="8").start()
    yield worker
    worker.remove()


@pytest.fixture(scope="module")
def events(server: RedisServer) -> Iterator[Events]:
    events = Events(server.url)
    yield events
    events.close()


@pytest.fixture(scope="module")
def small_events(small_server: RedisServer) -> Iterator[Events]:
    events = Events(small_server.url)
    yield events
    events.close()


def in_flight(worker: PoolWorker) -> int:
    return int(worker.ask("stats")["pool"]["in-flight"])


def test_a_task_that_succeeds_sends_its_three_events_with_its_id_and_result(worker: PoolWorker, events: Events) -> None:
    task_id = worker.send("ok", "an answer")
    assert events.of(task_id, "task-succeeded") == ["task-received", "task-started", "task-succeeded"]
    assert events.one(task_id, "task-succeeded")["result"] == "'an answer'"
    assert events.one(task_id, "task-received")["name"] == "ok"


def test_an_exception_of_the_coroutine_is_the_tasks_failure(worker: PoolWorker, events: Events) -> None:
    task_id = worker.send("error")
    assert events.of(task_id, "task-failed") == ["task-received", "task-started", "task-failed"]
    assert events.one(task_id, "task-failed")["exception"] == "ValueError('as asked')"


@pytest.mark.parametrize("name", ["cancelled", "exits", "exits_inside"])
def test_a_base_exception_out_of_a_body_is_accounted_for_and_frees_its_place(
    small: PoolWorker, small_events: Events, name: str
) -> None:
    failed = [small.send(name) for _ in range(SMALL + 2)]
    for task_id in failed:
        assert small_events.of(task_id, "task-failed") == ["task-received", "task-started", "task-failed"]
        assert "WorkerLostError" in small_events.one(task_id, "task-failed")["exception"]
    after = small.send("ok", 1)
    small_events.of(after, "task-succeeded")
    assert in_flight(small) == 0


def test_no_more_bodies_run_at_once_than_the_limit_allows_while_more_wait(small: PoolWorker) -> None:
    sent = [small.send("hold", "limit") for _ in range(8)]
    small.notes("began:limit", SMALL)
    assert in_flight(small) == SMALL
    assert small.redis.llen("pool") == len(sent) - SMALL
    small.open("limit")
    assert len(small.notes("ended:limit", len(sent))) == len(sent)
    wait_for(lambda: small.redis.get("peak:limit") is not None)
    assert small.redis.get("peak:limit") == str(SMALL)


def test_300_bodies_are_in_flight_at_once(worker: PoolWorker) -> None:
    for _ in range(300):
        worker.send("hold", "many")
    worker.notes("began:many", 300, within_s=20)
    assert in_flight(worker) == 300
    worker.open("many")
    assert {note.split()[1] for note in worker.notes("ended:many", 300)} == {"opened"}
    wait_for(lambda: in_flight(worker) == 0)


def test_a_message_is_acknowledged_as_soon_as_its_body_begins(worker: PoolWorker) -> None:
    worker.send("hold", "acks")
    worker.notes("began:acks")
    wait_for(lambda: worker.redis.hlen("unacked") == 0 and worker.redis.zcard("unacked_index") == 0)
    assert worker.ask("active")[0]["acknowledged"] is True
    worker.open("acks")
    worker.notes("ended:acks")


def test_inspect_names_what_runs_and_nothing_else(worker: PoolWorker) -> None:
    ids = {worker.send("hold", "inspect") for _ in range(3)}
    worker.notes("began:inspect", 3)
    active = worker.ask("active")
    assert {task["id"] for task in active} == ids
    assert len({task["worker_pid"] for task in active}) == 3
    pool = worker.ask("stats")["pool"]
    assert (pool["in-flight"], pool["waiting"], pool["max-concurrency"]) == (3, 0, WIDE)
    worker.open("inspect")
    worker.notes("ended:inspect", 3)
    wait_for(lambda: in_flight(worker) == 0)


def test_a_revoke_with_terminate_stops_the_body_and_is_announced_once(worker: PoolWorker, events: Events) -> None:
    task_id = worker.send("hold", "revoke")
    worker.notes("began:revoke")
    worker.app.control.revoke(task_id, terminate=True)
    assert worker.notes("ended:revoke") == [f"{task_id} Revoked"]
    assert events.of(task_id, "task-revoked") == ["task-received", "task-started", "task-revoked"]
    assert events.one(task_id, "task-revoked")["terminated"] is True
    events.of(worker.send("ok", 1), "task-succeeded")
    assert events.of(task_id, "task-revoked") == ["task-received", "task-started", "task-revoked"]


def test_a_task_revoked_while_its_message_waits_never_runs(small: PoolWorker, small_events: Events) -> None:
    for _ in range(SMALL):
        small.send("hold", "full")
    small.notes("began:full", SMALL)
    task_id = small.send("hold", "never")
    small.app.control.revoke(task_id)
    assert small.ask("revoked")
    small.open("full")
    small_events.of(task_id, "task-revoked")
    assert small.redis.llen("began:never") == 0


def test_a_terminated_body_keeps_its_place_until_it_has_ended(small: PoolWorker) -> None:
    ids = [small.send("lingers", "slow") for _ in range(SMALL)]
    small.notes("began:slow", SMALL)
    small.app.control.revoke(ids, terminate=True)
    small.notes("ended:slow", SMALL)
    small.send("hold", "next")
    wait_for(lambda: small.ask("stats")["pool"]["waiting"] == 1)
    assert small.redis.llen("began:next") == 0
    small.open("slow last")
    small.notes("began:next")
    small.open("next")
    small.notes("ended:next")


def test_a_task_revoked_while_it_waits_in_the_pool_never_runs(small: PoolWorker, small_events: Events) -> None:
    ids = [small.send("lingers", "pool") for _ in range(SMALL)]
    small.notes("began:pool", SMALL)
    small.app.control.revoke(ids, terminate=True)
    small.notes("ended:pool", SMALL)
    task_id = small.send("hold", "pool-never")
    wait_for(lambda: small.ask("stats")["pool"]["waiting"] == 1)
    small.app.control.revoke(task_id, terminate=True)
    assert task_id in small.ask("revoked")
    small.open("pool last")
    small_events.of(task_id, "task-revoked")
    wait_for(lambda: in_flight(small) == 0)
    assert small.redis.llen("began:pool-never") == 0


def test_an_interruption_ends_the_inner_tasks_of_wait_for_and_gather(worker: PoolWorker) -> None:
    task_id = worker.send("waits", "inner")
    worker.notes("began:inner", 3)
    worker.app.control.revoke(task_id, terminate=True)
    assert sorted(worker.notes("ended:inner", 3)) == ["a cancelled", "b cancelled", "outer Revoked"]


def test_the_soft_limit_is_celerys_exception_in_the_shell_and_a_cancellation_in_the_coroutine(
    worker: PoolWorker, events: Events
) -> None:
    task_id = worker.send("softly", "soft")
    assert worker.notes("ended:soft", 2) == ["coroutine SoftLimit", "shell SoftTimeLimitExceeded"]
    events.of(task_id, "task-succeeded")


def test_a_soft_limit_that_nobody_handles_fails_the_task(worker: PoolWorker, events: Events) -> None:
    task_id = worker.send("softly_not", "soft-not")
    events.of(task_id, "task-failed")
    assert "SoftTimeLimitExceeded" in events.one(task_id, "task-failed")["exception"]


def test_the_hard_limit_ends_a_body_that_went_on_after_the_soft_one(worker: PoolWorker, events: Events) -> None:
    task_id = worker.send("hardly", "hard")
    assert worker.notes("ended:hard", 2) == ["first SoftLimit", "second HardLimit"]
    assert events.of(task_id, "task-failed") == ["task-received", "task-started", "task-failed"]
    assert "TimeLimitExceeded(0.5" in events.one(task_id, "task-failed")["traceback"]


def test_a_limit_of_the_message_goes_before_that_of_the_task(worker: PoolWorker, events: Events) -> None:
    task_id = worker.send("hold", "own-limit", time_limit=0.2)
    assert worker.notes("ended:own-limit") == [f"{task_id} HardLimit"]
    events.of(task_id, "task-failed")


def test_a_body_that_ignores_its_hard_limit_is_left_behind_after_the_grace(worker: PoolWorker, events: Events) -> None:
    task_id = worker.send("stubborn", "stubborn", time_limit=0.2)
    assert worker.notes("ended:stubborn", 12) == ["HardLimit"] * 11 + ["CancelledError"]
    events.of(task_id, "task-failed")
    wait_for(lambda: in_flight(worker) == 0)
    worker.open("stubborn")


def test_context_variables_of_one_task_are_seen_by_no_other(worker: PoolWorker) -> None:
    for name in ("a", "b", "c"):
        worker.send("context", name)
    answers = sorted(worker.notes("context", 3))
    assert answers == [f"nothing {name} {name} changed" for name in ("a", "b", "c")]


def test_the_liveness_file_is_touched_again_and_again(worker: PoolWorker) -> None:
    first = worker.alive.stat().st_mtime_ns
    second = wait_for(lambda: worker.alive.stat().st_mtime_ns > first and worker.alive.stat().st_mtime_ns)
    wait_for(lambda: worker.alive.stat().st_mtime_ns > second)


def test_the_runtime_is_started_once_before_the_first_body(worker: PoolWorker) -> None:
    worker.send("noop")
    assert worker.notes("life") == ["start"]
