"""The batcher: a lone caller waits for nobody, many share a call, and each gets his own answer or his group's failure."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.waiting import eventually
from workers.jobs.gate.grouped import Grouped

pytestmark = pytest.mark.anyio


class Server:
    """Doubles numbers, one group at a time, when it is let."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fault: Exception | None = None
        self.running = 0

    async def run(self, items: list[int]) -> list[int]:
        self.running += 1
        assert self.running == 1
        self.groups.append(items)
        try:
            await self.open.wait()
            if self.fault:
                raise self.fault
        finally:
            self.running -= 1
        return [2 * item for item in items]


async def test_what_is_asked_at_one_time_goes_in_one_group_and_what_comes_meanwhile_in_the_next() -> None:
    server = Server()
    grouped: Grouped[int, int] = Grouped(server.run)
    server.open.clear()
    first = [grouped.add(number) for number in range(3)]
    await eventually(lambda: server.groups)
    second = [grouped.add(number) for number in range(3, 8)]
    server.open.set()
    assert await asyncio.gather(*first, *second) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert server.groups == [[0, 1, 2], [3, 4, 5, 6, 7]]
    assert await grouped.add(8) == 16


async def test_a_group_is_bounded() -> None:
    server = Server()
    grouped: Grouped[int, int] = Grouped(server.run, most=4)
    assert await asyncio.gather(*(grouped.add(number) for number in range(10))) == [2 * n for n in range(10)]
    assert [len(group) for group in server.groups] == [4, 4, 2]


async def test_a_failure_is_told_to_all_who_wait_and_to_nobody_after() -> None:
    server = Server()
    grouped: Grouped[int, int] = Grouped(server.run, most=2)
    server.fault = RuntimeError("gone")
    answers = await asyncio.gather(*(grouped.add(number) for number in range(5)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {RuntimeError}
    assert len(server.groups) == 1
    server.fault = None
    assert await grouped.add(1) == 2


async def test_a_group_that_takes_too_long_fails() -> None:
    server = Server()
    grouped: Grouped[int, int] = Grouped(server.run, patience_s=0.01)
    server.open.clear()
    with pytest.raises(TimeoutError):
        await grouped.add(1)
    server.open.set()
    assert await grouped.add(1) == 2


async def test_an_item_given_up_before_it_was_sent_is_not_sent() -> None:
    server = Server()
    grouped: Grouped[int, int] = Grouped(server.run)
    kept, given_up = grouped.add(1), grouped.add(2)
    given_up.cancel()
    assert await kept == 2
    assert server.groups == [[1]]


async def test_an_item_given_up_later_leaves_the_others_their_answers() -> None:
    server = Server()
    grouped: Grouped[int, int] = Grouped(server.run)
    server.open.clear()
    given_up, kept = grouped.add(1), grouped.add(2)
    await eventually(lambda: server.groups)
    given_up.cancel()
    server.open.set()
    assert await kept == 4


async def test_flush_waits_for_all_that_is_queued_and_close_cancels_it() -> None:
    server = Server()
    grouped: Grouped[int, int] = Grouped(server.run, most=2)
    futures = [grouped.add(number) for number in range(5)]
    await grouped.flush()
    assert all(future.done() for future in futures)
    server.open.clear()
    waiting = [grouped.add(number) for number in range(5)]
    await eventually(lambda: len(server.groups) == 4)
    await grouped.close()
    assert all(future.cancelled() for future in waiting)
    await grouped.flush()
