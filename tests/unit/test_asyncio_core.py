"""Ends and deadlines that hold for work which swallows its cancellation, as `asyncio.wait_for` of Python 3.11 can."""

from __future__ import annotations

import asyncio
import socket
import time
from threading import Timer

import pytest

from infrastructure.core.asyncio_core import end_tasks, wait_free, within, within_free
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


async def test_time_in_which_the_loop_was_blocked_is_not_counted() -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(wait_free(answer, 0.05))
    await asyncio.sleep(0)
    Timer(0.1, lambda: answer.get_loop().call_soon_threadsafe(answer.set_result, "in time")).start()
    time.sleep(0.2)  # noqa: ASYNC251  to `asyncio.timeout` the time would be over now
    assert await waiting == "in time"


async def test_what_has_arrived_by_the_last_moment_is_still_looked_at() -> None:
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)

    async def ask() -> bytes:
        return await reader.readexactly(3)

    def answer_and_block() -> None:
        far.sendall(b"yes")
        time.sleep(0.1)

    asked = asyncio.create_task(within_free(ask(), 0.05))
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    loop.call_later(0.045, answer_and_block)  # into the last tick
    assert await asked == b"yes"
    writer.close()
    far.close()


async def test_a_silent_one_is_waited_for_as_long_as_was_said_and_not_cancelled() -> None:
    silent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    began = now()
    with pytest.raises(TimeoutError):
        await wait_free(silent, 0.05)
    assert 0.05 <= now() - began < 0.5
    assert not silent.done()


async def test_work_whose_time_is_over_is_cancelled_and_what_it_raises_comes_through() -> None:
    stubborn = Stubborn()
    with pytest.raises(TimeoutError):
        await within_free(stubborn.work(), 0.02)
    await eventually(lambda: stubborn.cancelled == 3)

    async def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await within_free(broken(), 1)
