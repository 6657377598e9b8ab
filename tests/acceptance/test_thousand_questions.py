"""A thousand real questions as single jobs over HTTP, through every real part."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from tests.support.fleet import Fleet
from tests.support.load import submit_all
from tests.support.questions import questions
from workers.providers.sandbox.answers import proof

COUNT = 1_000
POLLERS = 16


async def poll_all(url: str, ids: list[str]) -> list[dict[str, Any]]:
    """Return every job once it has ended, in order."""
    found: list[dict[str, Any]] = [{} for _ in ids]
    places = iter(range(len(ids)))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:

        async def poller() -> None:
            for place in places:
                for _ in range(10):
                    async with session.get(f"{url}/api/v1/jobs/{ids[place]}?wait=10") as answer:
                        found[place] = await answer.json()
                    if found[place]["finished_at"]:
                        break

        await asyncio.gather(*(poller() for _ in range(POLLERS)))
    return found


def test_a_thousand_questions_get_a_thousand_answers_of_their_own() -> None:
    asked = questions(COUNT)
    assert len(set(asked)) == COUNT
    with Fleet() as fleet:
        fleet.start_web()
        fleet.start_worker()
        ids = asyncio.run(submit_all(fleet.url, asked))
        jobs = asyncio.run(poll_all(fleet.url, ids))
        counters = fleet.sandbox.counters()

    assert {job["status"] for job in jobs} == {"completed"}
    for question, job in zip(asked, jobs, strict=True):
        assert proof(question) in job["result"]["choices"][0]["message"]["content"]
    assert counters["requests"] == COUNT
    assert counters["different_prompts"] == COUNT
