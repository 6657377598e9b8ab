"""The registry of a process and the container of a scope: order, failures, health, recovery, leaks."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import pytest

from infrastructure.optional.container_core import Background, Lifetime, Recovery, Registry
from infrastructure.optional.container_core.parts import do
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio

QUICK = Recovery(look_every_s=0.01, failures=2, pause_s=0.001, longest_s=0.002, attempts=3)


class Part:
    """A part that writes down what is done with it."""

    def __init__(self, name: str, diary: list[str], *needs: object) -> None:
        self.name = name
        self.diary = diary
        self.needs = needs
        self.well = True
        self.heals = True

    async def start(self) -> None:
        self.diary.append(f"start {self.name}")
        self.well = self.heals or self.well

    def stop(self) -> None:
        self.diary.append(f"stop {self.name}")

    def ping(self) -> None:
        if not self.well:
            raise ConnectionError(self.name)


class Store(Part):
    pass


class Door(Part):
    pass


class Job(Part):
    pass


def registry_of(diary: list[str]) -> Registry:
    """A registry in which the door, registered first, needs the store."""
    registry = Registry()
    registry.register(
        Door, lambda parts: Door("door", diary, parts.get(Store)), start=Door.start, stop=Door.stop, ping=Door.ping
    )
    registry.register(
        Store, lambda _: Store("store", diary), start=Store.start, stop=Store.stop, ping=Store.ping, recovery=QUICK
    )
    return registry


async def test_parts_are_made_once_and_by_type_and_name() -> None:
    registry = Registry()
    registry.register(Store, lambda _: Store("a", []))
    registry.register(Store, lambda _: Store("b", []), name="other")

    assert registry.get(Store) is registry.get(Store)
    assert registry.get(Store, "other").name == "b"
    with pytest.raises(ValueError, match="expected one part Store 'other', got a second"):
        registry.register_value(Store, Store("c", []), name="other")
    with pytest.raises(LookupError, match="expected a part Door '' to be registered"):
        registry.get(Door)


async def test_a_part_starts_after_what_it_needs_and_stops_before_it() -> None:
    diary: list[str] = []
    async with registry_of(diary) as registry:
        assert registry.get_metrics() == {"parts": 2, "started": 2, "restarts": {}, "given_up": []}
    assert diary == ["start store", "start door", "stop door", "stop store"]


async def test_what_was_started_is_stopped_when_a_start_fails() -> None:
    diary: list[str] = []
    registry = registry_of(diary)

    async def refuse(_: Job) -> None:
        raise OSError("no")

    registry.register(Job, lambda _: Job("job", diary), start=refuse, stop=Job.stop)
    with pytest.raises(OSError, match="no"):
        await registry.start()
    assert diary == ["start store", "start door", "stop door", "stop store"]


async def test_a_part_that_fails_to_stop_keeps_no_other_from_being_stopped() -> None:
    diary: list[str] = []
    registry = registry_of(diary)

    def refuse(_: Job) -> None:
        raise OSError("no")

    registry.register(Job, lambda _: Job("job", diary), start=Job.start, stop=refuse)
    async with registry:
        pass
    assert diary == ["start store", "start door", "start job", "stop door", "stop store"]


async def test_parts_that_need_each_other_are_refused() -> None:
    registry = Registry()
    registry.register(Store, lambda parts: Store("store", [], parts.get(Door)))
    registry.register(Door, lambda parts: Door("door", [], parts.get(Store)))
    with pytest.raises(LookupError, match="without a circle, got Store -> Door -> Store"):
        registry.get(Store)


async def test_pings_tell_who_is_well_and_have_a_deadline() -> None:
    diary: list[str] = []
    registry = registry_of(diary)
    registry.register(Job, lambda _: Job("job", diary), name="sleeper", ping=lambda _: asyncio.sleep(60))
    registry.get(Store).well = False

    results = {ping.name: await ping.ping(deadline_s=0.05) for ping in registry.get_pings()}

    assert {name: result.ok for name, result in results.items()} == {"Door": True, "Store": False, "sleeper": False}
    assert results["Store"].error_type == "ConnectionError"
    assert results["sleeper"].error_type == "TimeoutError"
    assert 40 < results["sleeper"].latency_ms < 5_000


async def test_a_failed_part_is_started_again() -> None:
    diary: list[str] = []
    async with registry_of(diary) as registry:
        registry.get(Store).well = False
        await eventually(lambda: registry.get(Store).well)
        assert diary[2:] == ["stop store", "start store"]
        assert registry.get_metrics()["restarts"] == {"Store": 1}


async def test_recovery_ends_after_its_attempts_until_the_part_answers_again() -> None:
    diary: list[str] = []
    async with registry_of(diary) as registry:
        store = registry.get(Store)
        store.well = store.heals = False
        await eventually(lambda: registry.get_metrics()["given_up"] == ["Store"])
        assert diary.count("start store") == 1 + QUICK.attempts
        store.well = True
        await eventually(lambda: registry.get_metrics()["given_up"] == [])
        store.well = False
        await eventually(lambda: registry.get_metrics()["given_up"] == ["Store"])
        assert diary.count("start store") == 1 + 2 * QUICK.attempts


async def test_recovery_needs_something_to_do_and_to_ask() -> None:
    with pytest.raises(ValueError, match="expected start, stop and ping of Store"):
        Registry().register(Store, lambda _: Store("a", []), start=Store.start, recovery=QUICK)


async def test_a_container_has_its_own_parts_and_those_of_the_process() -> None:
    diary: list[str] = []
    registry = registry_of(diary)
    registry.register(
        Job,
        lambda parts: Job("job", diary, parts.get(Store)),
        lifetime=Lifetime.SCOPE,
        stop=Job.stop,
        ping=Job.ping,
    )
    async with registry.container() as one, registry.container() as two:
        assert one.get(Job) is one.get(Job)
        assert one.get(Job) is not two.get(Job)
        assert one.get(Job).needs == (registry.get(Store),)
        one.put(str, "the word", stop=lambda word: diary.append(f"stop {word}"))
        assert one.get(str) == "the word"
        assert [ping.name for ping in one.get_pings()] == ["Door", "Store", "Job"]
        assert (await one.get_pings()[-1].ping()).ok
    assert diary == ["stop job", "stop the word", "stop job"]
    with pytest.raises(LookupError, match="it lives in one scope"):
        registry.get(Job)


async def test_a_containers_clean_up_goes_on_when_one_fails() -> None:
    diary: list[str] = []

    def refuse(_: int) -> None:
        raise OSError("no")

    async with Registry().container() as scope:
        scope.put(str, "first", stop=diary.append)
        scope.put(int, 1, stop=refuse)
    assert diary == ["first"]


def _leak_container() -> None:
    Registry().container().put(str, "left", stop=lambda _: None)
    gc.collect()


async def _leak_registry() -> None:
    registry = Registry()
    registry.register_value(Store, Store("store", []), start=Store.start, stop=Store.stop)
    await registry.start()
    del registry
    gc.collect()


async def test_leaks_warn() -> None:
    with pytest.warns(ResourceWarning, match="container was dropped"):
        _leak_container()
    with pytest.warns(ResourceWarning, match="registry was dropped"):
        await _leak_registry()


async def test_background_work_that_ends_fails_its_ping_and_can_be_started_again() -> None:
    runs: list[int] = []

    async def work() -> None:
        runs.append(len(runs))
        if len(runs) == 1:
            raise ConnectionError("lost")
        await asyncio.sleep(60)

    part = Background("the work", work)
    with pytest.raises(RuntimeError, match="expected the work to have been started"):
        part.ping()
    registry = Registry()
    registry.register_value(
        Background,
        part,
        name="work",
        start=Background.start,
        stop=Background.stop,
        ping=Background.ping,
        recovery=QUICK,
    )
    async with registry:
        await eventually(lambda: len(runs) == 2)
        assert [(await ping.ping()).ok for ping in registry.get_pings()] == [True]


async def a_cancelled_thing(_: object = None) -> None:
    """Wait for something that somebody has cancelled."""
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    await task


async def deaf(_: object) -> None:
    """Listen to no cancellation but the third."""
    for _ in range(3):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


async def test_a_stop_that_was_cancelled_by_what_it_waited_for_keeps_no_other_from_being_stopped() -> None:
    diary: list[str] = []
    registry = registry_of(diary)
    registry.register(Job, lambda _: Job("job", diary), stop=a_cancelled_thing)
    async with registry:
        pass
    assert diary[2:] == ["stop door", "stop store"]


async def test_whoever_is_cancelled_at_a_stop_still_stops_all_parts() -> None:
    diary: list[str] = []
    registry = registry_of(diary)
    waiting = asyncio.Event()

    async def wait(_: Job) -> None:
        waiting.set()
        await asyncio.sleep(60)

    registry.register(Job, lambda _: Job("job", diary), stop=wait)
    await registry.start()
    stopping = asyncio.create_task(registry.stop())
    await waiting.wait()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert diary[2:] == ["stop door", "stop store"]


async def test_a_step_that_listens_to_nothing_is_left_behind_when_its_time_is_up() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(do(deaf, None, within_s=0.01), 15)


async def test_a_ping_that_was_cancelled_is_no_answer_and_ends_no_recovery() -> None:
    starts: list[int] = []
    registry = Registry()
    registry.register_value(
        Job,
        Job("job", []),
        start=lambda _: starts.append(1),
        stop=a_cancelled_thing,
        ping=a_cancelled_thing,
        recovery=QUICK,
    )
    async with registry:
        (ping,) = registry.get_pings()
        assert (await ping.ping()).error_type == "StepCancelled"
        await eventually(lambda: registry.get_metrics()["given_up"] == ["Job"])
    assert len(starts) == 1 + QUICK.attempts


async def test_what_needs_no_start_is_stopped_too_when_another_start_fails() -> None:
    diary: list[str] = []
    registry = Registry()

    def refuse(_: Job) -> None:
        raise OSError("no")

    registry.register(Job, lambda _: Job("job", diary), start=refuse, stop=Job.stop)
    registry.register(Store, lambda _: Store("store", diary), stop=Store.stop)
    with pytest.raises(OSError, match="no"):
        await registry.start()
    assert diary == ["stop store"]


async def test_parts_of_a_scope_that_need_each_other_are_refused() -> None:
    registry = Registry()
    registry.register(Store, lambda parts: Store("store", [], parts.get(Door)), lifetime=Lifetime.SCOPE)
    registry.register(Door, lambda parts: Door("door", [], parts.get(Store)), lifetime=Lifetime.SCOPE)
    async with registry.container() as scope:
        with pytest.raises(LookupError, match="without a circle, got Store -> Door -> Store"):
            scope.get(Store)


async def test_a_registry_is_started_once_until_it_is_stopped() -> None:
    diary: list[str] = []
    async with registry_of(diary) as registry:
        with pytest.raises(RuntimeError, match="got a second start"):
            await registry.start()
    await registry.start()
    await registry.stop()
    assert diary == ["start store", "start door", "stop door", "stop store"] * 2
