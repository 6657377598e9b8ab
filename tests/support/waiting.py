"""Waiting for a condition with a deadline, in place of sleeping.

Where other programs take the processor the deadline is stretched: it bounds a hang, not the speed of the machine.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any, TypeVar

from tests.support.machine import in_time

T = TypeVar("T")


def wait_for(condition: Callable[[], T], *, within_s: float = 30, every_s: float = 0.02, what: str = "") -> T:
    """Return the condition's first true value; AssertionError when there is none within the time."""
    began = time.monotonic()
    while not (value := condition()):
        if not in_time(time.monotonic() - began, within_s):
            raise AssertionError(f"not within {within_s} s: {what or condition}")
        time.sleep(every_s)
    return value


async def eventually(
    condition: Callable[[], Any], *, within_s: float = 30, every_s: float = 0.02, what: str = ""
) -> Any:
    """Return the (possibly awaited) condition's first true value; AssertionError when there is none within the time."""
    began = time.monotonic()
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if not in_time(time.monotonic() - began, within_s):
            raise AssertionError(f"not within {within_s} s: {what or condition}")
        await asyncio.sleep(every_s)
