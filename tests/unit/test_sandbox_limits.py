"""The sandbox's limits: buckets that fill again, refusals that take nothing, headers in each wire's own words."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import pytest
from pydantic import ValidationError

from workers.providers.sandbox.answers import make
from workers.providers.sandbox.asked import Asked
from workers.providers.sandbox.instances import Instance, Instances
from workers.providers.sandbox.limiter import Limiter, Refusal, duration
from workers.providers.sandbox.profiles import MOST_INSTANCES, Limits, Profile
from workers.providers.sandbox.timeline import MOST_SECONDS, Timeline


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limiter(clock: Clock, **limits: Any) -> Limiter:
    return Limiter(Limits(**limits), clock=clock)


def admitted(limits: Limiter, count: int, *, tokens: int = 0) -> int:
    return sum(limits.admit(tokens) is None for _ in range(count))


def refused(limits: Limiter, tokens: int) -> tuple[str, float]:
    refusal = limits.admit(tokens)
    assert refusal is not None
    return refusal.what, round(refusal.wait_s, 6)


def test_a_rested_account_has_a_minutes_requests_and_they_flow_back_evenly(clock: Clock) -> None:
    limits = limiter(clock, requests_per_minute=30)
    assert admitted(limits, 40) == 30
    assert refused(limits, 0) == ("requests", 2.0)
    clock.now += 10
    assert admitted(limits, 40) == 5
    clock.now += 3_600
    assert admitted(limits, 40) == 30


def test_a_shorter_window_fills_faster(clock: Clock) -> None:
    limits = limiter(clock, requests_per_minute=10, window_s=2)
    assert admitted(limits, 20) == 10
    clock.now += 1
    assert admitted(limits, 20) == 5


def test_a_call_without_tokens_left_costs_no_request(clock: Clock) -> None:
    limits = limiter(clock, requests_per_minute=100, tokens_per_minute=600)
    assert admitted(limits, 10, tokens=250) == 2
    assert refused(limits, 250) == ("tokens", 15.0)
    assert limits.headers("openai")["x-ratelimit-remaining-requests"] == "98"


def test_one_call_larger_than_the_limit_is_let_through_when_all_is_there(clock: Clock) -> None:
    limits = limiter(clock, tokens_per_minute=600)
    assert admitted(limits, 2, tokens=900) == 1
    clock.now += 60
    assert admitted(limits, 1, tokens=900) == 0
    clock.now += 60
    assert admitted(limits, 1, tokens=900) == 1


def test_calls_at_once_are_counted_by_what_is_held(clock: Clock) -> None:
    limits = limiter(clock, concurrency=2)
    with limits.at_once(), limits.at_once():
        assert refused(limits, 0)[0] == "concurrent requests"
    assert limits.admit(0) is None


def test_a_storm_refuses_all_and_counts_its_retry_after_down(clock: Clock) -> None:
    limits = limiter(clock, storm_s=60)
    for passed, said in ((0.0, "60"), (19.5, "41"), (40.4, "1")):
        clock.now += passed
        assert limits.retry_after(Refusal(*refused(limits, 0))) == {"Retry-After": said}
    clock.now += 0.2
    assert limits.admit(0) is None


def test_retry_after_takes_the_form_that_is_asked_for(clock: Clock) -> None:
    refusal = Refusal("requests", 29.2)
    assert limiter(clock, retry_after="none").retry_after(refusal) == {}
    date = limiter(clock, retry_after="date").retry_after(refusal)["Retry-After"]
    assert 28 <= parsedate_to_datetime(date).timestamp() - time() <= 30


def test_headers_speak_the_wires_words(clock: Clock) -> None:
    limits = limiter(clock, requests_per_minute=60, tokens_per_minute=6_000)
    limits.admit(150)
    assert limits.headers("openai") == {
        "x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59", "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "6000", "x-ratelimit-remaining-tokens": "5850", "x-ratelimit-reset-tokens": "1.5s",
    }  # fmt: skip
    said = limits.headers("anthropic")
    assert said["anthropic-ratelimit-tokens-remaining"] == "5850"
    reset = datetime.strptime(said["anthropic-ratelimit-tokens-reset"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert -1 < reset.timestamp() - time() < 3


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0ms"), (0.1201, "121ms"), (1.5, "1.5s"), (60, "1m0s"), (361.25, "6m1.25s")]
)
def test_durations_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def asked(prompt: str = "p", digest: int = 0x8000) -> Asked:
    return Asked(model="m", prompt=prompt, digest=digest, prompt_tokens=1)


def test_an_answer_takes_latency_jitter_and_its_tokens_and_the_first_ones_more() -> None:
    instance = Instance(Profile(latency_s=1, jitter_s=0.5, per_token_s=0.01, cold_calls=2, cold_s=4))
    assert [instance.pause_s(asked(), answer_tokens=20) for _ in range(4)] == pytest.approx([5.45, 3.45, 1.45, 1.45])


def test_a_new_profile_leaves_limits_counting_when_they_stay_the_same() -> None:
    instances = Instances(Profile())
    instances.set({"a": Profile(limits=Limits(requests_per_minute=1))})
    before = instances.of("a").limiter
    instances.set({"a": Profile(latency_s=1, limits=Limits(requests_per_minute=1))})
    assert instances.of("a").limiter is before
    instances.set({"a": Profile(limits=Limits(requests_per_minute=2))})
    assert instances.of("a").limiter is not before


@pytest.mark.parametrize(
    "described", [b"{}", b"[]", b'{"": {}}', b'{"a/b": {}}', b'{"a": {"latency": 1}}', b'{"a": {"port": "ajar"}}']
)
def test_a_malformed_instance_is_refused(described: bytes) -> None:
    with pytest.raises(ValidationError):
        Instances(Profile()).read(described)


def test_instances_are_bounded() -> None:
    instances = Instances(Profile())
    instances.set({f"i{number}": Profile() for number in range(MOST_INSTANCES)})
    with pytest.raises(ValueError, match=f"at most {MOST_INSTANCES}"):
        instances.read(b'{"one-more": {}}')
    assert instances.read(b'{"i7": {}}')


def test_a_serial_stands_at_the_end_of_an_answers_id() -> None:
    assert asked().answer_id == "0000000000008000"
    assert Asked(model="m", prompt="p", digest=1, prompt_tokens=1, serial=7).answer_id == "0000000000000001-7"
    assert make(asked())[0].text == make(Asked(model="m", prompt="p", digest=1, prompt_tokens=1, serial=7))[0].text


def test_the_timeline_forgets_its_oldest_seconds() -> None:
    timeline = Timeline()
    for second in range(MOST_SECONDS + 5):
        timeline.add("a", second, "calls")
    seconds = timeline.shown()["a"]
    assert len(seconds) == MOST_SECONDS
    assert min(map(int, seconds)) == 5
