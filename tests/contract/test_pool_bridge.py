"""The greenlet bridge: what a synchronous shell sees of the coroutines that it awaits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from workers.pool.bridge import Drained, Interrupted, SoftLimit, await_, run_body

pytestmark = pytest.mark.anyio
T = TypeVar("T")
variable = ContextVar("variable", default="unset")


class Box:
    """A mailbox with one place."""

    def __init__(self) -> None:
        self.letter: Interrupted | None = None
        self.repeated = 0

    def repeat(self) -> None:
        self.repeated += 1
        self.letter = Drained()
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    def take(self) -> Interrupted | None:
        letter, self.letter = self.letter, None
        return letter


async def interrupted(shell: Callable[[], T], why: type[Interrupted], box: Box | None = None) -> T:
    """Run a shell and interrupt it once it waits."""
    box = box or Box()
    task = asyncio.ensure_future(run_body(shell, box))
    await asyncio.sleep(0)
    box.letter = why()
    task.cancel()
    return await task


async def after(value: T) -> T:
    await asyncio.sleep(0)
    return value


async def test_a_shell_awaits_many_times_and_keeps_its_place() -> None:
    assert await run_body(lambda: [await_(after(n)) for n in range(5)], Box()) == [0, 1, 2, 3, 4]


async def test_a_shell_that_awaits_nothing_returns_its_value() -> None:
    assert await run_body(lambda: 7, Box()) == 7


async def test_an_exception_crosses_from_the_coroutine_to_the_shell_and_out() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("inside")

    def shell() -> None:
        with pytest.raises(KeyError, match="inside"):
            await_(fails())
        raise LookupError("outside")

    with pytest.raises(LookupError, match="outside"):
        await run_body(shell, Box())


async def test_an_interruption_is_raised_at_the_innermost_await() -> None:
    met: list[str] = []

    async def inner() -> str:
        try:
            await asyncio.Event().wait()
        except Drained as exc:
            met.append(type(exc).__name__)
        return "handed back"

    assert await interrupted(lambda: await_(inner()), Drained) == "handed back"
    assert met == ["Drained"]


async def test_an_interruption_that_a_library_swallows_is_raised_again() -> None:
    async def swallows() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        try:
            await asyncio.Event().wait()
        except Drained:
            return "heard at last"
        return "nothing"

    box = Box()
    assert await interrupted(lambda: await_(swallows()), Drained, box) == "heard at last"
    assert box.repeated == 1


async def test_the_handing_back_in_an_except_block_is_not_interrupted_again() -> None:
    async def hands_back() -> str:
        try:
            await asyncio.Event().wait()
        except Drained:
            for n in range(5):
                await after(n)
            return "handed back"
        return "nothing"

    box = Box()
    assert await interrupted(lambda: await_(hands_back()), Drained, box) == "handed back"
    assert box.repeated == 0


async def test_the_soft_limit_reaches_the_shell_as_celerys_exception() -> None:
    def shell() -> str:
        with pytest.raises(SoftTimeLimitExceeded):
            await_(asyncio.Event().wait())
        return "in order"

    assert await interrupted(shell, SoftLimit) == "in order"


async def test_a_cancellation_of_any_other_origin_stays_what_it_is() -> None:
    async def cancels_itself() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    def shell() -> str:
        try:
            await_(cancels_itself())
        except asyncio.CancelledError as exc:
            return type(exc).__name__
        return "nothing"

    assert await run_body(shell, Box()) == "CancelledError"


async def test_a_timeout_inside_still_times_out() -> None:
    async def times_out() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"
        return "nothing"

    assert await run_body(lambda: await_(times_out()), Box()) == "timed out"


async def test_two_bodies_do_not_see_each_others_context_variables() -> None:
    def shell(value: str) -> tuple[str, str]:
        before = variable.get()
        variable.set(value)
        await_(after(None))
        return before, variable.get()

    bodies = [run_body(lambda value=value: shell(value), Box()) for value in ("a", "b")]  # type: ignore[misc]
    assert await asyncio.gather(*(asyncio.ensure_future(body) for body in bodies)) == [("unset", "a"), ("unset", "b")]
    assert variable.get() == "unset"


async def test_await_outside_a_body_is_refused_and_leaves_no_coroutine_behind() -> None:
    with pytest.raises(RuntimeError, match="expected await_ to be called in a task body"):
        await_(after(1))
