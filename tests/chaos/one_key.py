"""A thousand submits at once under one Idempotency-Key, then other bodies under the same key."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import aiohttp

from tests.chaos.harness.census import audited
from tests.chaos.harness.deployment import FAST, MODEL, PREFIX, Deployment
from tests.chaos.rows import Row, exactly, scaled

AT_ONCE, CHANGED = 1_000, 20
KEY = {"Idempotency-Key": "one-key"}


def run(scale: float) -> Sequence[Row]:
    """Submit 1,000 times at once, and 20 times changed."""
    return asyncio.run(submit_at_once(at_once=scaled(AT_ONCE, scale, least=20), changed=CHANGED))


async def submit_at_once(*, at_once: int, changed: int) -> list[Row]:
    """Submit one body so often at once, and others under its key."""
    with Deployment(variables=FAST) as there:
        await asyncio.to_thread(there.start, workers=1)
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(there.url, connector=connector, timeout=timeout) as session:
            same = await asyncio.gather(*(_submit(session, "the same question") for _ in range(at_once)))
            other = await asyncio.gather(*(_submit(session, f"another question {n}") for n in range(changed)))
        with there.client() as client:
            jobs = len(list(client.scan_iter(f"{PREFIX}:job:*", count=1_000)))
        return [
            exactly("jobs made", jobs, 1),
            exactly("ids told", len({told.get("id") for _, told in same}), 1),
            exactly("answers to the same body", dict(Counter(status for status, _ in same)), {202: at_once}),
            exactly("answers to other bodies", dict(Counter(status for status, _ in other)), {422: changed}),
            *audited(there),
        ]


async def _submit(session: aiohttp.ClientSession, prompt: str) -> tuple[int, Any]:
    body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}
    async with session.post("/api/v1/completion", json=body, headers=KEY) as answer:
        return answer.status, await answer.json()
