"""The bound on bodies in memory."""

from __future__ import annotations

import asyncio

import pytest

from workers.runtime.admission import CLAIMS_AT_ONCE, Admission

pytestmark = pytest.mark.anyio


async def test_no_claim_starts_while_the_bodies_in_flight_are_at_the_limit() -> None:
    admission = Admission(limit_bytes=100)
    claimed = asyncio.Event()

    async def claim() -> None:
        async with admission.claiming():
            claimed.set()

    async with admission.holding(60), admission.holding(40):
        waiting = asyncio.create_task(claim())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not claimed.is_set()

    await asyncio.wait_for(waiting, 15)
    assert admission.held_bytes == 0


async def test_only_so_many_claims_run_together() -> None:
    admission = Admission(limit_bytes=100)
    inside, most = 0, 0
    go = asyncio.Event()

    async def claim() -> None:
        nonlocal inside, most
        async with admission.claiming():
            inside += 1
            most = max(most, inside)
            await go.wait()
            inside -= 1

    tasks = [asyncio.create_task(claim()) for _ in range(3 * CLAIMS_AT_ONCE)]
    for _ in range(5):
        await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*tasks)

    assert most == CLAIMS_AT_ONCE
