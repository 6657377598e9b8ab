"""Small forms of the chaos suite's scenarios; `make chaos` runs them in full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from tests.chaos import (
    all_workers,
    cut_answers,
    front_door_kills,
    frozen_worker,
    lost_messages,
    one_key,
    poison,
    redis_restarts,
    redis_stalls,
    upkeep_kills,
    worker_kills,
)
from tests.chaos.harness.failpoints import POINTS
from tests.chaos.harness.steps import STEPS
from tests.chaos.rows import Row
from workers.jobs.store import lua


def broken(rows: Sequence[Row]) -> list[Row]:
    assert rows
    return [row for row in rows if not row.ok]


def test_every_script_whose_answer_is_cut_has_run_once() -> None:
    assert not broken(asyncio.run(cut_answers.cut_answers(times=1, names=list(STEPS))))


def test_a_script_that_counts_twice_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    source = lua.source

    def careless(name: str, package: str = lua.STORE) -> str:
        return source(name, package).replace("if first then", "if true then")

    monkeypatch.setattr(lua, "source", careless)
    assert broken(asyncio.run(cut_answers.cut_answers(times=1, names=["complete, stale"])))


SMALL: dict[str, Callable[[], Sequence[Row]]] = {
    "worker_kills": lambda: worker_kills.kill_workers(kills=5, jobs=50),
    "front_door_kills": lambda: front_door_kills.kill_front_doors(times=1, points=list(POINTS)),
    "upkeep_kills": lambda: upkeep_kills.kill_upkeep(times=1),
    "lost_messages": lambda: lost_messages.lose_messages(times=1, jobs=10),
    "all_workers": lambda: all_workers.kill_all(times=1),
    "redis_restarts": lambda: redis_restarts.restarts(times=2, appendfsync="always"),
    "power_cuts": lambda: redis_restarts.power_cuts(times=1),
    "redis_stalls": lambda: redis_stalls.stalls(times=1, stall_s=2, variables={}),
    "redis_full": lambda: redis_stalls.full(refused=5),
    "frozen_worker": lambda: frozen_worker.freeze_workers(frozen_s=6, jobs=10),
    "poison": lambda: poison.poison(jobs=10),
    "one_key": lambda: one_key.run(0.1),
}


@pytest.mark.chaos
@pytest.mark.parametrize("name", SMALL)
def test_a_small_scenario_breaks_no_limit(name: str) -> None:
    assert not broken(SMALL[name]())
