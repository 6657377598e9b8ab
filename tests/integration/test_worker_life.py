"""Real front door, worker, upkeep and beat over a private Redis: jobs survive what happens to the processes."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import redis as sync_redis

from infrastructure.core.config_core import load
from tests.support.fleet import Fleet, kill
from tests.support.jobs_client import JobsClient
from tests.support.waiting import wait_for
from workers.providers.sandbox.answers import proof

SLOW = "this one takes long"


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    fast_leases = {
        "AI_PROVIDER_JOBS_LEASE_S": "2",
        "AI_PROVIDER_JOBS_HEARTBEAT_S": "0.5",
        "AI_PROVIDER_WORKER_DRAIN_S": "1",
    }
    with Fleet(worker_env=fast_leases) as running:
        running.start_web()
        running.start_upkeep()
        running.start_worker()
        JobsClient(running.url).wait(JobsClient(running.url).submit("warm up"), within_s=40)
        yield running


@pytest.fixture
def jobs(fleet: Fleet) -> JobsClient:
    fleet.sandbox.reset()
    return JobsClient(fleet.url)


def slow(fleet: Fleet) -> None:
    """Let every answer from now on take a minute."""
    fleet.sandbox.set_faults({"action": {"latency_s": 60}})


def plain(data: bytes) -> str:
    """Return a broker message with its body decoded; any other text as it is."""
    try:
        message = json.loads(data)
        return f"{message['headers']} {base64.b64decode(message['body']).decode()}"
    except (ValueError, KeyError, TypeError):
        return data.decode()


def in_flight(fleet: Fleet) -> int:
    found: int = fleet.sandbox.counters()["in_flight"]
    return found


def test_an_answer_belongs_to_its_question_and_its_cost_is_booked(jobs: JobsClient) -> None:
    job = jobs.wait(jobs.submit("What is the use of a bell?"))

    assert job["status"] == "completed"
    assert proof("What is the use of a bell?") in job["result"]["choices"][0]["message"]["content"]
    assert job["cost_usd"] > 0
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["ok"]
    assert job["cache"] == "miss"


def test_cancel_stops_the_call_that_runs(fleet: Fleet, jobs: JobsClient) -> None:
    slow(fleet)
    job_id = jobs.submit(SLOW)
    wait_for(lambda: in_flight(fleet) == 1, what="the call")

    assert jobs.cancel(job_id)["status"] == "cancelled"

    wait_for(lambda: in_flight(fleet) == 0, within_s=5, what="the end of the call")
    assert jobs.job(job_id)["status"] == "cancelled"


def test_revoking_a_running_task_cancels_its_job(fleet: Fleet, jobs: JobsClient) -> None:
    from celery import Celery

    from infrastructure.core.config_core import load
    from workers.queues import celery_settings

    slow(fleet)
    job_id = jobs.submit(SLOW)
    wait_for(lambda: in_flight(fleet) == 1, what="the call")
    app = Celery(set_as_current=False)
    app.conf.update(celery_settings(load({"REDIS_URL": fleet.redis.url}).settings))
    try:
        app.control.revoke(job_id, terminate=True)

        assert jobs.wait(job_id)["status"] == "cancelled"
        wait_for(lambda: in_flight(fleet) == 0, within_s=5, what="the end of the call")
    finally:
        app.close()


def test_a_deadline_ends_a_running_job(fleet: Fleet, jobs: JobsClient) -> None:
    slow(fleet)

    job = jobs.wait(jobs.submit(SLOW, deadline_s=1))

    assert job["status"] in {"expired", "failed"}
    assert job["error"]["code"] == "deadline_exceeded"
    wait_for(lambda: in_flight(fleet) == 0, within_s=5, what="the end of the call")


def test_a_lost_message_is_rung_again(fleet: Fleet, jobs: JobsClient) -> None:
    client = sync_redis.Redis.from_url(fleet.redis.url)
    worker = fleet.worker
    worker.send_signal(signal.SIGSTOP)
    try:
        job_id = jobs.submit("nobody hears of this one")
        wait_for(lambda: client.llen("aip:mq:completions") == 1, what="the message")
        client.delete("aip:mq:completions")
    finally:
        worker.send_signal(signal.SIGCONT)
    client.close()

    assert jobs.wait(job_id)["status"] == "completed"


def test_a_drained_worker_hands_back_what_it_cannot_finish_and_another_one_does_it(
    fleet: Fleet, jobs: JobsClient
) -> None:
    slow(fleet)
    ids = [jobs.submit(f"{SLOW} {number}") for number in range(5)]
    wait_for(lambda: in_flight(fleet) == 5, what="the calls")
    fleet.sandbox.set_faults()
    old = fleet.worker
    old.send_signal(signal.SIGTERM)
    assert old.wait(60) == 0
    fleet.start_worker()

    ended = [jobs.wait(job_id, within_s=40) for job_id in ids]

    assert {job["status"] for job in ended} == {"completed"}
    client = sync_redis.Redis.from_url(fleet.redis.url)
    assert [client.hget(f"aip:job:{job_id}", "deliveries") for job_id in ids] == [b"1"] * 5
    client.close()


def test_the_jobs_of_a_killed_worker_are_rescued(fleet: Fleet, jobs: JobsClient) -> None:
    slow(fleet)
    ids = [jobs.submit(f"{SLOW} once more {number}") for number in range(5)]
    wait_for(lambda: in_flight(fleet) == 5, what="the calls")
    fleet.sandbox.set_faults()
    kill(fleet.worker)
    fleet.start_worker()

    ended = [jobs.wait(job_id, within_s=40) for job_id in ids]

    assert {job["status"] for job in ended} == {"completed"}


def test_a_failed_job_is_a_failed_task(fleet: Fleet, jobs: JobsClient) -> None:
    watcher = sync_redis.Redis.from_url(fleet.redis.url)
    events = watcher.pubsub()  # type: ignore[no-untyped-call]
    events.psubscribe("*task.*")
    fleet.sandbox.set_faults({"preset": "openai-400"})
    job_id = jobs.submit("refused")
    assert jobs.wait(job_id)["error"]["code"] == "invalid_provider_request"

    def failed() -> bool:
        said = events.get_message(timeout=0.1)
        text = plain(said["data"]) if said is not None and said["type"] == "pmessage" else ""
        return "task-failed" in text and f"{job_id}: invalid_provider_request" in text

    wait_for(failed, every_s=0, what="the event of the task's failure")
    events.close()
    watcher.close()


def test_messages_that_nobody_can_read_end_no_worker(fleet: Fleet, jobs: JobsClient) -> None:
    client = sync_redis.Redis.from_url(fleet.redis.url)
    for garbage in (b"", b"not json", b"null", b"[]", b"5", b'{"body": "?", "headers": {}, "properties": {}}'):
        client.lpush("aip:mq:completions", garbage)
        client.lpush("aip:mq:upkeep", garbage)
    client.close()

    assert jobs.wait(jobs.submit("after the garbage"))["status"] == "completed"
    assert fleet.worker.poll() is None
    assert fleet.upkeep.poll() is None


def test_the_jobs_of_a_killed_worker_are_rescued_without_beat_too(fleet: Fleet, jobs: JobsClient) -> None:
    kill(fleet.beat)
    slow(fleet)
    job_id = jobs.submit(SLOW)
    wait_for(lambda: in_flight(fleet) == 1, what="the call")
    fleet.sandbox.set_faults()
    kill(fleet.worker)
    fleet.start_worker()

    assert jobs.wait(job_id, within_s=40)["status"] == "completed"


def test_a_jobs_events_arrive_and_say_nothing_of_its_prompt(fleet: Fleet, jobs: JobsClient) -> None:
    watcher = sync_redis.Redis.from_url(fleet.redis.url)
    heard: list[str] = []
    events = watcher.pubsub()  # type: ignore[no-untyped-call]
    events.psubscribe("*")
    planted = "the planted prompt"
    job_id = jobs.submit(planted)
    jobs.wait(job_id)

    def succeeded() -> bool:
        said = events.get_message(timeout=0.1)
        if said is not None and said["type"] == "pmessage":
            heard.append(plain(said["data"]))
        return bool(heard) and "task-succeeded" in heard[-1] and job_id in heard[-1]

    wait_for(succeeded, every_s=0, what="the event of the task's success")
    events.close()
    watcher.close()

    for kind in ("task-sent", "task-received", "task-started"):
        assert any(kind in text and job_id in text for text in heard), kind
    assert not any(planted in text for text in heard)


def test_a_job_whose_request_was_damaged_fails_with_a_clear_code(fleet: Fleet, jobs: JobsClient) -> None:
    client = sync_redis.Redis.from_url(fleet.redis.url)
    worker = fleet.worker
    worker.send_signal(signal.SIGSTOP)
    try:
        damaged, sound = jobs.submit("this one is damaged"), jobs.submit("this one is not")
        request = client.hget(f"aip:job:{damaged}", "req")
        assert isinstance(request, bytes)
        client.hset(f"aip:job:{damaged}", "req", request[:-3] + b"xyz")
    finally:
        worker.send_signal(signal.SIGCONT)
    client.close()

    job = jobs.wait(damaged)

    assert (job["status"], job["error"]["code"]) == ("failed", "data_corrupt")
    assert "expected stored data to be as it was written" in job["error"]["message"]
    assert job["attempts"] == []
    assert jobs.wait(sound)["status"] == "completed"


def test_the_fleet_is_in_the_directory_and_its_failovers_are_heard(fleet: Fleet, jobs: JobsClient) -> None:
    services = jobs.get("/api/v1/infrastructure/services")["data"]
    assert {one["metadata"]["kind"] for one in services} == {"web", "completions", "upkeep"}

    fleet.sandbox.set_faults({"preset": "openai-500"})
    job = jobs.wait(jobs.submit("who else knows?", model="default"))

    assert job["status"] == "completed"

    def told() -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = jobs.get("/api/v1/events?topic=provider.failover")["data"]
        return [event for event in data if event["data"]["job_id"] == job["id"]]

    (event,) = wait_for(told, what="the failover is heard")
    assert event["data"]["from_provider"] == "sandbox"
    assert event["data"]["to_provider"] == "sandbox-anthropic"


def test_beat_which_has_no_loop_of_its_own_publishes_its_figures_too(fleet: Fleet, jobs: JobsClient) -> None:
    if fleet.beat.poll() is not None:  # killed by the test before
        fleet.start_beat()

    def kinds() -> bool:
        told = jobs.get("/api/v1/infrastructure/metrics")
        return {one["kind"] for one in told["instances"]} == {"web", "completions", "upkeep", "beat"}

    wait_for(kinds, what="beat's figures at the front door")


def test_a_job_records_the_version_of_the_worker_that_ran_it(fleet: Fleet, jobs: JobsClient) -> None:
    job_id = jobs.submit("under which configuration?")
    jobs.wait(job_id)
    client = sync_redis.Redis.from_url(fleet.redis.url)
    recorded = client.hget(f"aip:job:{job_id}", "cfg")
    client.close()

    # The two processes differ in their variables, so in their versions: the worker's is the one that counts.
    assert recorded == load(fleet.environment(**fleet.worker_env)).settings.version.encode()


def test_a_job_whose_providers_are_all_away_waits_in_the_queue_and_is_done_when_they_are_back(
    fleet: Fleet, jobs: JobsClient
) -> None:
    fleet.sandbox.set_faults({"preset": "openai-503"})
    job_id = jobs.submit("wait for it")
    wait_for(lambda: jobs.job(job_id)["attempts"], what="the attempts")

    waiting = jobs.job(job_id)
    fleet.sandbox.set_faults()
    done = jobs.wait(job_id, within_s=40)

    assert waiting["status"] in {"queued", "in_progress"}
    assert (done["status"], done["attempts"][-1]["outcome"]) == ("completed", "ok")
    assert {attempt["outcome"] for attempt in done["attempts"][:-1]} == {"provider_unavailable"}
    client = sync_redis.Redis.from_url(fleet.redis.url)
    assert client.hget(f"aip:job:{job_id}", "deliveries") == b"1"
    client.close()
