"""The autoscaler's steps: who is started, who goes, and who is left alone while it has jobs."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from api.cli import scaling
from api.cli.child import Child, Spec
from api.cli.crew import numbered
from api.cli.scaling import HOLD_S, Autoscaler
from infrastructure.core.asyncio_core import end_tasks
from infrastructure.optional.container_core import Bounds, Figures, Scaler
from tests.support.waiting import eventually
from workers.jobs.load import Load
from workers.jobs.store.job_store import JobStore
from workers.jobs.topics import FLEET_SCALED

pytestmark = pytest.mark.anyio
BOUNDS = Bounds(
    minimum=1, maximum=4, target_age_s=1, depth=10, grow_after_s=0, shrink_after_s=0, cooldown_s=0
)  # fmt: skip


class Process(Child):
    """A child that is only a name and a number."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(Spec(name=name, command=()), environment={}, say=lambda *_: None)
        self.number = number

    @property
    def pid(self) -> int:
        return self.number


class Crew:
    """Processes that are started and ended at once."""

    kind = "completions"

    def __init__(self, count: int) -> None:
        self.lost = 0
        self.processes = [Process(f"worker.{number}", number) for number in range(1, count + 1)]

    @property
    def children(self) -> tuple[Child, ...]:
        return tuple(self.processes)

    async def add(self) -> None:
        self.processes.append(Process("new", 100 + len(self.processes)))

    async def end(self, child: Child) -> None:
        self.processes.remove(cast("Process", child))

    async def drop_given_up(self) -> int:
        lost, self.lost = self.lost, 0
        del self.processes[len(self.processes) - lost :]
        return lost


class Store:
    """What the store tells of the owners."""

    def __init__(self, **held: int) -> None:
        self.held = {f"completions@host.with.dots.{name.removeprefix('w')}.ab12": count for name, count in held.items()}

    async def owners(self) -> dict[str, int]:
        return self.held


class Service:
    """An autoscaler over a crew, with what it said and published."""

    def __init__(self, crew: Crew, store: Store) -> None:
        self.figures = Figures(ready=0)
        self.said: list[str] = []
        self.published: list[tuple[str, Any]] = []
        self.scaler = Autoscaler(
            crew, Scaler(BOUNDS), store=cast("JobStore", store), look=self._look,
            say=lambda _, line: self.said.append(line), events=self, patience_s=30, host="host.with.dots",
        )  # fmt: skip

    def publish(self, topic: str, data: Any = None) -> None:
        self.published.append((topic, data))

    async def _look(self) -> dict[str, Load]:
        return {"completions": Load(kind="completions", classes={}, figures=self.figures, workers=0, recommended=0)}


async def test_a_full_queue_starts_workers_up_to_the_maximum_and_says_so() -> None:
    crew = Crew(1)
    service = Service(crew, Store())
    service.figures = Figures(ready=1_000, oldest_age_s=9)
    for second in range(3):
        await service.scaler.step(now_s=second)
    assert len(crew.processes) == 4
    assert service.said == [
        "completions: 1000 waiting, oldest 9.0 s, 0 running: 1 to 2 workers",
        "completions: 1000 waiting, oldest 9.0 s, 0 running: 2 to 4 workers",
    ]
    assert service.published[0] == (FLEET_SCALED, {"kind": "completions", "before": 1, "workers": 2})


async def test_an_empty_queue_ends_the_idle_workers_youngest_first() -> None:
    crew = Crew(3)
    service = Service(crew, Store(w1=0, w2=5, w3=0))
    await service.scaler.step(now_s=0)
    assert [process.number for process in crew.processes] == [1, 2]
    await service.scaler.step(now_s=1)
    assert [process.number for process in crew.processes] == [2]
    await service.scaler.step(now_s=2)
    assert [process.number for process in crew.processes] == [2]


async def test_workers_with_jobs_are_left_alone_until_patience_ends() -> None:
    crew = Crew(2)
    service = Service(crew, Store(w1=2, w2=3))
    for second in (0, 10, 29):
        await service.scaler.step(now_s=second)
    assert len(crew.processes) == 2
    assert service.said == []
    await service.scaler.step(now_s=30)
    assert [process.number for process in crew.processes] == [2]


async def test_work_that_comes_back_ends_the_wish_to_shrink() -> None:
    crew = Crew(2)
    service = Service(crew, Store(w1=2, w2=3))
    await service.scaler.step(now_s=0)
    service.figures = Figures(ready=15)
    await service.scaler.step(now_s=29)
    service.figures = Figures(ready=0)
    await service.scaler.step(now_s=31)
    assert len(crew.processes) == 2


async def test_processes_of_other_machines_and_kinds_with_the_same_number_do_not_count() -> None:
    crew, store = Crew(2), Store(w1=1, w2=0)
    store.held |= {"completions@elsewhere.2.ab12": 9, "upkeep@host.with.dots.2.ab12": 9}
    service = Service(crew, store)
    await service.scaler.step(now_s=0)
    assert [process.number for process in crew.processes] == [1]


async def test_after_one_that_could_not_be_kept_no_more_are_started_for_a_while() -> None:
    crew = Crew(2)
    service = Service(crew, Store())
    service.figures = Figures(ready=1_000, oldest_age_s=9)
    crew.lost = 1
    for second in (0, 1, HOLD_S - 1):
        await service.scaler.step(now_s=second)
    assert len(crew.processes) == 1
    await service.scaler.step(now_s=HOLD_S)
    assert len(crew.processes) == 2


async def test_a_look_or_a_step_that_fails_is_told_once_and_the_next_one_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scaling, "LOOK_EVERY_S", 0.001)
    crew = Crew(1)
    service = Service(crew, Store())
    service.figures = Figures(ready=1_000, oldest_age_s=9)
    fails, add = iter([True, True, True]), crew.add

    async def fail_first() -> None:
        if next(fails, False):
            raise BlockingIOError("no room for another process")
        await add()

    monkeypatch.setattr(crew, "add", fail_first)
    running = asyncio.create_task(service.scaler.run())
    await eventually(lambda: len(crew.processes) == 4)
    await end_tasks([running])
    assert sum("cannot follow the queue now (BlockingIOError)" in line for line in service.said) == 1


@pytest.mark.parametrize(
    ("service_id", "number", "wanted"),
    [("001", 1, "001"), ("001", 2, "002"), ("001", 10, "010"), ("099", 2, "100"), ("7", 3, "9"),
     ("blue", 1, "blue"), ("blue", 2, "blue-2"), ("b" * 32, 12, "b" * 29 + "-12")],
)  # fmt: skip
def test_each_process_has_an_id_of_its_own(service_id: str, number: int, wanted: str) -> None:
    assert numbered(service_id, number) == wanted
