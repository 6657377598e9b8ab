"""Single-flight keeps its contract in one process and over several: the same tests with and without Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.support.sharing import Provider, Unavailable, Verdict, process, soon
from tests.support.waiting import eventually
from workers.providers.flights.flight import FlightLost, Shared
from workers.providers.flights.flights import Flights, NullFlights

pytestmark = pytest.mark.anyio
KEY = "1:acme:abc"
Pair = tuple[Flights[str], Flights[str]]


@pytest.fixture(params=["one process", "two processes"])
async def pair(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Pair]:
    """Two ways into the same flights: twice the same process, or two that meet in Redis."""
    async with AsyncExitStack() as stack:
        if request.param == "one process":
            only = await stack.enter_async_context(process(None, "only"))
            yield only, only
        else:
            yield (
                await stack.enter_async_context(process(redis_url, "first")),
                await stack.enter_async_context(process(redis_url, "second")),
            )


def asking(
    flights: Flights[str], provider: Provider, *, key: str = KEY, within_s: float = 10, job: str = ""
) -> asyncio.Task[Shared[str]]:
    return asyncio.create_task(
        flights.share(key, provider, deadline=soon(within_s), job=(job, "1:fence") if job else None)
    )


async def calling(provider: Provider, calls: int = 1) -> None:
    await eventually(lambda: provider.calls == calls, what=f"{calls} calls")


async def settled(pair: Pair, key: str, count: int = 1) -> None:
    """Wait until the second one waits for what the first leads."""
    await eventually(
        lambda: (
            key in pair[1]._pilots and (pair[1]._pilots[key].waits or len(pair[1]._pilots[key].flight.waiters) >= count)
        ),
        what="somebody joined",
    )


async def test_equal_requests_at_once_are_one_call(pair: Pair) -> None:
    provider = Provider()
    asked = [asking(pair[number % 2], provider) for number in range(40)]
    await calling(provider)
    provider.ready.set()
    shared = await asyncio.gather(*asked)
    assert provider.calls == 1
    assert {one.answer for one in shared} == {"four"}
    assert [one.joined for one in shared].count(False) == 1
    assert len({one.led_ms for one in shared}) == 1


async def test_requests_that_differ_are_calls_of_their_own(pair: Pair) -> None:
    provider = Provider(ready=True)
    asked = [asking(pair[number % 2], provider, key=f"1:acme:{number}") for number in range(10)]
    assert not any(one.joined for one in await asyncio.gather(*asked))
    assert provider.calls == 10


async def test_a_verdict_on_the_request_is_everybodys(pair: Pair) -> None:
    provider = Provider(Verdict("max_tokens is too large"))
    asked = [asking(pair[number % 2], provider) for number in range(6)]
    await calling(provider)
    provider.ready.set()
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert provider.calls == 1
    assert [repr(one) for one in told] == [repr(provider.answer)] * 6
    assert len({id(one) for one in told}) == 6


async def test_an_error_that_says_nothing_of_the_request_is_the_leaders_alone(pair: Pair) -> None:
    failing, good = Provider(Unavailable("away")), Provider("four", ready=True)
    first = asking(pair[0], failing)
    await calling(failing)
    others = [asking(pair[1], good) for _ in range(3)]
    await settled(pair, KEY, 2)
    failing.ready.set()
    with pytest.raises(Unavailable):
        await first
    shared = await asyncio.gather(*others)
    assert (failing.calls, good.calls) == (1, 1)
    assert sorted(one.joined for one in shared) == [False, True, True]


async def test_each_who_waits_has_a_turn_while_leaders_fail(pair: Pair) -> None:
    failing = Provider(Unavailable("away"))
    asked = [asking(pair[number % 2], failing) for number in range(6)]
    await calling(failing)
    failing.ready.set()
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in told] == [Unavailable] * 6
    assert failing.calls == 6


async def test_a_cancelled_leader_leaves_the_call_to_those_who_wait(pair: Pair) -> None:
    provider = Provider()
    first = asking(pair[0], provider, job="job_1")
    await calling(provider)
    second = asking(pair[1], provider, job="job_2")
    await settled(pair, KEY, 2)
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    provider.ready.set()
    assert (await second).answer == "four"
    assert (provider.calls, provider.stopped) == (1, 0)


async def test_a_leader_past_his_deadline_leaves_the_call_to_those_who_wait(pair: Pair) -> None:
    provider = Provider()
    first = asking(pair[0], provider, within_s=0.3)
    await calling(provider)
    second = asking(pair[1], provider)
    await settled(pair, KEY, 2)
    with pytest.raises(TimeoutError):
        await first
    provider.ready.set()
    assert (await second).answer == "four"
    assert (provider.calls, provider.stopped) == (1, 0)


async def test_one_who_waits_gives_up_at_his_own_deadline(pair: Pair) -> None:
    provider = Provider()
    first = asking(pair[0], provider)
    await calling(provider)
    with pytest.raises(TimeoutError):
        await asking(pair[1], provider, within_s=0.1)
    provider.ready.set()
    assert (await first).joined is False
    assert provider.calls == 1


async def test_a_call_that_nobody_waits_for_is_stopped(pair: Pair) -> None:
    provider = Provider()
    asked = [asking(pair[0], provider)]
    await calling(provider)
    asked.append(asking(pair[1], provider))
    await settled(pair, KEY, 2)
    for one in asked:
        one.cancel()
    await asyncio.wait(asked)
    await eventually(lambda: provider.stopped == 1, what="the call is stopped")
    await eventually(lambda: not pair[0]._pilots and not pair[1]._pilots, what="no flight is left")
    provider.ready.set()
    assert (await asking(pair[1], provider)).joined is False
    assert provider.calls == 2


async def test_who_comes_after_the_last_one_left_gets_an_answer(pair: Pair) -> None:
    provider = Provider()
    for _ in range(20):
        left = asking(pair[0], provider)
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
    last = asking(pair[1], provider)
    provider.ready.set()
    assert (await last).answer == "four"


async def test_the_party_is_those_who_wait_here(pair: Pair) -> None:
    provider = Provider()
    first = asking(pair[0], provider, within_s=5, job="job_1")
    await calling(provider)
    party = provider.parties[0]
    assert party.job() == ("job_1", "1:fence")
    second = asking(pair[0], provider, within_s=60, job="job_2")
    await eventually(lambda: party.deadline() > soon(50), what="the party's deadline grew")
    first.cancel()
    await asyncio.wait([first])
    assert party.job() == ("job_2", "1:fence")
    provider.ready.set()
    shared = await second
    assert (shared.answer, shared.joined) == ("four", False)


async def test_a_bound_of_the_call_grows_with_the_party(pair: Pair) -> None:
    provider = Provider()
    ended = asyncio.Event()

    async def bounded(party: object) -> str:
        async with party.within(60):  # type: ignore[attr-defined]
            try:
                return await provider(party)  # type: ignore[arg-type]
            finally:
                ended.set()

    first = asyncio.create_task(pair[0].share(KEY, bounded, deadline=soon(0.3)))
    await calling(provider)
    second = asking(pair[0], provider)
    with pytest.raises(TimeoutError):
        await first
    assert not ended.is_set()
    provider.ready.set()
    assert (await second).answer == "four"


async def test_the_bound_of_a_call_ends_it(pair: Pair) -> None:
    provider = Provider()

    async def bounded(party: object) -> str:
        async with party.within(0.05):  # type: ignore[attr-defined]
            return await provider(party)  # type: ignore[arg-type]

    with pytest.raises(TimeoutError):
        await pair[0].share(KEY, bounded, deadline=soon())
    assert provider.stopped == 1


async def test_a_call_that_cancels_itself_is_an_error_of_its_leader(pair: Pair) -> None:
    async def lead(_: object) -> str:
        raise asyncio.CancelledError

    with pytest.raises(FlightLost):
        await pair[0].share(KEY, lead, deadline=soon())


async def test_an_answer_is_handed_over_for_keeping_once(pair: Pair) -> None:
    provider, kept = Provider(), []

    async def keep(answer: str) -> None:
        kept.append(answer)

    asked = [
        asyncio.create_task(pair[number % 2].share(KEY, provider, deadline=soon(), keep=keep)) for number in range(8)
    ]
    await calling(provider)
    provider.ready.set()
    await asyncio.gather(*asked)
    await eventually(lambda: kept == ["four"], what="the answer is kept")


async def test_the_end_of_a_process_stops_its_calls_and_loses_nobody_for_good(pair: Pair) -> None:
    provider = Provider()
    asked = asking(pair[0], provider)
    await calling(provider)
    await pair[0].close()
    with pytest.raises(FlightLost):
        await asked
    assert provider.stopped == 1


async def test_one_who_shares_with_nobody_calls_himself() -> None:
    provider, kept = Provider(ready=True), []

    async def keep(answer: str) -> None:
        kept.append(answer)

    flights: NullFlights[str] = NullFlights()
    asked = [flights.share(KEY, provider, deadline=soon(), job=("job_1", "f"), keep=keep) for _ in range(3)]
    assert [one.joined for one in await asyncio.gather(*asked)] == [False] * 3
    assert (provider.calls, kept) == (3, ["four"] * 3)
    assert provider.parties[0].job() == ("job_1", "f")
    provider.ready.clear()
    with pytest.raises(TimeoutError):
        await flights.share(KEY, provider, deadline=soon(0.05))
