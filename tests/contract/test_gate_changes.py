"""A breaker that changes is told of once, by the gate whose call or check changed it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis.asyncio as aioredis

from infrastructure.core.logger_core import get_logger
from infrastructure.optional.event_core import NullPublisher
from tests.support.gates import MODEL, PROVIDER, TWINS, Twin, local_twin, redis_twin
from tests.support.logs import caught_log
from workers.jobs.gate.changes import BreakerTelling
from workers.jobs.gate.models import Breaker, BreakerChange, Verdict

pytestmark = pytest.mark.anyio
Change = tuple[str | None, str, str, str]


@pytest.fixture(params=TWINS)
def twin(request: pytest.FixtureRequest, redis: aioredis.Redis) -> Twin:
    return redis_twin(redis) if request.param == "redis" else local_twin()


@pytest.fixture
def heard(twin: Twin) -> list[Change]:
    return listen(twin)


def listen(twin: Twin) -> list[Change]:
    heard: list[Change] = []

    def hear(change: BreakerChange) -> None:
        assert change.provider == PROVIDER
        heard.append((change.model, change.before.value, change.state.value, change.reason))

    listener: Callable[[BreakerChange], None] = hear
    twin.gate._changed = listener
    return heard


async def test_a_target_that_opens_is_tried_and_closes_is_told_of_three_times(twin: Twin, heard: list[Change]) -> None:
    await twin.several(5, Verdict.FAILED, outcome="provider_timeout")
    await twin.advance(15_000)
    await twin.call()
    await twin.several(3)
    assert heard == [
        (MODEL, "closed", "open", "provider_timeout"),
        (MODEL, "open", "half_open", "provider_timeout"),
        (MODEL, "half_open", "closed", "provider_timeout"),
    ]


async def test_an_account_is_told_of_without_a_model(twin: Twin, heard: list[Change]) -> None:
    await twin.call(Verdict.ACCOUNT, outcome="provider_quota")
    await twin.advance(15_000)
    await twin.call(Verdict.ACCOUNT, outcome="provider_quota")
    assert heard == [
        (None, "closed", "open", "provider_quota"),
        (None, "open", "half_open", "provider_quota"),
        (None, "half_open", "open", "provider_quota"),
    ]


async def test_a_check_that_finds_a_provider_down_tells_it_once(twin: Twin, heard: list[Change]) -> None:
    await twin.gate.down(PROVIDER, "provider_unavailable")
    await twin.gate.down(PROVIDER, "provider_unavailable")
    assert heard == [(None, "closed", "open", "provider_unavailable")]


async def test_of_two_processes_only_the_one_that_changed_it_tells(redis: aioredis.Redis) -> None:
    one, other = redis_twin(redis, owner="w1"), redis_twin(redis, owner="w2")
    of_one, of_other = listen(one), listen(other)
    await one.several(4, Verdict.FAILED)
    await other.call(Verdict.FAILED)
    await one.begin()
    assert (len(of_one), len(of_other)) == (0, 1)


@pytest.mark.parametrize(
    ("before", "state", "level", "message"),
    [
        (Breaker.CLOSED, Breaker.OPEN, "WARNING", "Circuit breaker opened"),
        (Breaker.OPEN, Breaker.HALF_OPEN, "INFO", "Circuit breaker lets one call try"),
        (Breaker.HALF_OPEN, Breaker.OPEN, "INFO", "Circuit breaker stays open"),
        (Breaker.HALF_OPEN, Breaker.CLOSED, "INFO", "Circuit breaker closed"),
    ],
)
def test_each_change_is_a_line(before: Breaker, state: Breaker, level: str, message: str) -> None:
    tell = BreakerTelling(NullPublisher(), log=get_logger("ai-provider", "test"))
    with caught_log() as log:
        tell(BreakerChange(provider="p", model="m", before=before, state=state, reason="provider_timeout"))
    (line,) = log.lines
    assert (line["level"], line["message"]) == (level, message)
    assert line["context"] == {
        "provider": "p", "before": before.value, "state": state.value, "model": "m", "reason": "provider_timeout",
    }  # fmt: skip
