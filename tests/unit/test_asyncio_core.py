"""Ends and deadlines that hold for work which swallows its cancellation, as `asyncio.wait_for` of Python 3.11 can."""

from __future__ import annotations

import asyncio

import pytest

from infrastructure.core.asyncio_core import end_tasks, within
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


class Stubborn:
    """Work for half a minute, that ends at its third cancellation only."""

    cancelled = 0

    async def work(self) -> None:
        while self.cancelled < 3:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                self.cancelled += 1


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_stubborn_tasks_are_cancelled_until_they_have_ended() -> None:
    stubborn = Stubborn()
    task = asyncio.create_task(stubborn.work())
    await asyncio.sleep(0)  # what is cancelled before its first step never runs
    assert await end_tasks([task])
    assert stubborn.cancelled == 3


async def test_nobody_waits_longer_than_was_said_and_the_work_ends_later() -> None:
    stubborn, began = Stubborn(), now()
    with pytest.raises(TimeoutError):
        await within(stubborn.work(), 0.02)
    assert now() - began < 0.1
    await eventually(lambda: stubborn.cancelled == 3)


async def test_a_caller_who_is_cancelled_goes_at_once_and_his_work_ends_later() -> None:
    stubborn, began = Stubborn(), now()
    caller = asyncio.create_task(within(stubborn.work(), 30))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert now() - began < 0.1
    await eventually(lambda: stubborn.cancelled == 3)


async def test_what_work_returns_or_raises_comes_through() -> None:
    async def work(value: int) -> int:
        return 10 // value

    assert await within(work(5), 1) == 2
    with pytest.raises(ZeroDivisionError):
        await within(work(0), 1)
