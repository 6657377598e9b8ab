"""Equal requests through real workers: paid once, whoever dies, and never another tenant's.

In full: `python -m tests.benchmarks flights`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.equal_requests import equal_at_once, leader_killed, make_keys, shared_wall, tenants_share_prompts
from tests.support.wall import Wall

WORKERS = 3
QUICK = {"jobs": {"heartbeat_s": 1, "lease_s": 3}, "flights": {"lease_s": 5}}
"""Soon enough for a test, and long enough for a worker that others keep from the processor for seconds."""


@pytest.fixture(scope="module")
def wall() -> Iterator[Wall]:
    with shared_wall(1.5, settings=QUICK) as made:
        made.start(workers=WORKERS)
        yield made


@pytest.fixture(scope="module")
def key(wall: Wall) -> str:
    return asyncio.run(make_keys(wall, ["tenant-of-all"]))[0]


def test_equal_requests_at_once_over_several_processes_cost_one_call(wall: Wall, key: str) -> None:
    found = asyncio.run(equal_at_once(wall, 300, key=key))
    assert (found.calls, found.answers, found.ended) == (1, 1, {"completed": 300}), found.by_cache
    assert found.by_cache["miss"] == 1
    assert found.by_cache["joined"] > 0


def test_a_killed_leader_costs_one_call_more_and_its_waiters_are_answered(wall: Wall, key: str) -> None:
    found = asyncio.run(leader_killed(wall, 40, within_s=40, key=key))
    assert found.ended == {"completed": 40}
    assert found.calls <= 2
    assert found.answers == 1


def test_no_answer_crosses_from_one_tenant_to_another(wall: Wall) -> None:
    found = asyncio.run(tenants_share_prompts(wall, tenants=6, each=20, prompts=4))
    assert (found.crossed, found.wrong, found.ended) == (0, 0, {"completed": 120})
    assert found.calls == 6 * 4, found.by_cache
