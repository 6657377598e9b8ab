"""The outages of issue 4 in small, all at once through real workers, one of which has a clock that is an hour ahead.

In full, one by one: `python -m tests.benchmarks outages`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.clocks import ahead
from tests.support.enduring import Shown, all_down, endure
from tests.support.outages import ALL, OUTAGES, Scale, case_of, wall_of
from tests.support.steady import warm_up

SMALL = Scale(rate=8, calm_s=2.5, out_s=4, after_s=5)
NAMES = [name for name, outage in OUTAGES.items() if outage.share is None]
PROBE_S = 0.5
MOST_CALLS = 20
SHORT_S, LONG_S = 2.0, 60.0


@pytest.fixture(scope="module")
def shown() -> Iterator[dict[str, Shown]]:
    """Run the load through all outages at the same time, each with three providers and a model of its own."""
    # What is timed is timed by the benchmark; a hang of a few seconds must cost less than one of a minute.
    outages = [replace(OUTAGES[name], added_s=5.0, calls=MOST_CALLS) for name in NAMES]
    cases = {one.name: case_of(one, timeout_s=1, latency_s=0.05, prefix=f"{one.name}-") for one in (*outages, ALL)}
    with wall_of(*cases.values(), breakers={"probe_s": PROBE_S}) as wall:
        wall.add_worker(**ahead(3_600))
        wall.start(workers=1)
        wall.wait_for_workers(2)
        for case in cases.values():
            warm_up(wall.url, model=case.model, jobs=20)

        async def all_at_once() -> list[Shown]:
            single = [endure(wall, cases[name], SMALL) for name in NAMES]
            down = all_down(wall, cases[ALL.name], SMALL, short_s=SHORT_S, long_s=LONG_S)
            return await asyncio.gather(*single, down)

        yield dict(zip([*NAMES, ALL.name], asyncio.run(all_at_once()), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_an_outage_of_the_preferred_provider_fails_no_job_and_costs_a_handful_of_calls(
    shown: dict[str, Shown], name: str
) -> None:
    assert shown[name].broken == []
    assert len(shown[name].rows) == 4


def test_with_all_providers_down_jobs_end_by_their_deadline_or_after_the_return(shown: dict[str, Shown]) -> None:
    assert shown[ALL.name].broken == []
