"""Single-flight with real processes: one call for many, a killed leader, a frozen one, tenants apart.

`python -m tests.benchmarks sharing` runs the same in full size.
"""

from __future__ import annotations

from collections import Counter

from redis import Redis

from tests.support.redis_server import RedisServer
from tests.support.sandbox import SandboxProcess
from tests.support.shared_calls import LEASE_S, calls, equal_requests, killed_leaders, late, peers, tenants_apart
from tests.support.waiting import wait_for
from workers.jobs import codec


def test_equal_requests_in_several_processes_are_one_call(redis_url: str, sandbox: SandboxProcess) -> None:
    made, told = equal_requests(redis_url, sandbox, requests=300, processes=3)
    assert made == 1
    assert told == Counter(miss=1, joined=299, hit=0, crossed=0, failed=0)


def test_a_killed_leader_has_one_successor_and_those_who_wait_are_answered(
    redis_url: str, sandbox: SandboxProcess
) -> None:
    made, told = killed_leaders(redis_url, sandbox, times=2, waiting=2)
    assert max(made) <= 2
    assert (told["failed"], told["crossed"], sum(told.values())) == (0, 0, 20)


def test_no_answer_crosses_from_tenant_to_tenant(redis_url: str, sandbox: SandboxProcess) -> None:
    made, told = tenants_apart(redis_url, sandbox, tenants=10, requests=60, prompts=5, processes=2)
    assert made <= 10 * 5
    assert (told["crossed"], told["failed"], sum(told.values())) == (0, 0, 600)


def test_a_frozen_leader_that_lands_late_is_refused(
    redis_url: str, redis_server: RedisServer, sandbox: SandboxProcess
) -> None:
    sandbox.set_faults(late("frozen", 0.5))
    with peers(2, redis_url, sandbox, "frozen", lease_s=LEASE_S) as (leader, other):
        leader.tell(asks=[["acme", "What is a harbour?"]])
        wait_for(lambda: calls(sandbox, "frozen") == 1, what="the leader calls")
        leader.freeze()
        other.tell(asks=[["acme", "What is a harbour?"]])
        shown = other.told()
        leader.thaw()
        told = leader.told()
        assert (shown["miss"], told["miss"]) == (1, 1)
        assert calls(sandbox, "frozen") == 2
        with Redis.from_url(redis_url) as redis:
            (name,) = redis.keys("aip:flight:*")
            landed = wait_for(lambda: redis.hget(name, "landed"), what="the answer is shared, behind those who have it")
            assert codec.unpack(landed)["answer"]["result"]["by"] == shown["owner"]
        other.tell(asks=[["acme", "What is a harbour?"]])
        again = other.told()
        assert (again["hit"], again[f"by {shown['owner']}"]) == (1, 1)
