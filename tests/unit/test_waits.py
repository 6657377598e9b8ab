"""What a job that waits is told to wait for."""

from __future__ import annotations

from typing import Any

import pytest

from infrastructure.core.config_core import Provider, ProviderKind
from workers.jobs.gate.models import Admission, Breaker, Refusal, TargetState
from workers.jobs.models import Attempt
from workers.providers.calls import Target
from workers.providers.library import Facts
from workers.providers.waits import LONGEST, Why


def target(name: str = "p", *, limits: dict[str, int] | None = None) -> Target:
    provider = Provider.model_validate({"kind": ProviderKind.OPENAI, "limits": limits or {}})
    return Target(name, "m", provider, Facts())


def admission(refusal: Refusal, *, wait_ms: int = 0, **state: Any) -> Admission:
    return Admission(refusal=refusal, state=TargetState(provider="p", model="m", **state), wait_ms=wait_ms)


@pytest.mark.parametrize(
    ("limits", "refused", "told"),
    [
        ({}, admission(Refusal.OPEN, account=Breaker.OPEN, reason="authentication", next_probe_ms=1_500),
         "is left alone after authentication (the whole account), next try in 1.5 s"),
        ({}, admission(Refusal.OPEN, breaker=Breaker.OPEN, reason="provider_timeout"),
         "is left alone after provider_timeout"),
        ({}, admission(Refusal.THROTTLED, throttled_ms=7_000), "asked us to slow down (429), for 7.0 s"),
        ({"concurrency": 5}, admission(Refusal.FULL, in_flight=5),
         "has as many calls in flight as limits.concurrency allows (5)"),
        ({"concurrency": 5}, admission(Refusal.FULL, in_flight=3, concurrency_limit=3.4),
         "has 3 calls in flight, as many as it was found to stand (3)"),
        ({"requests_per_minute": 60}, admission(Refusal.RATE, wait_ms=900),
         "has had what a minute allows (limits.requests_per_minute 60), for 0.9 s"),
        ({}, admission(Refusal.RATE, wait_ms=900, tokens_per_minute=1_000),
         "has had what a minute allows (1000 tokens per minute as it says), for 0.9 s"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_limit_or_what_opened_the_breaker(
    limits: dict[str, int], refused: Admission, told: str
) -> None:
    why = Why()
    why.refused(target(limits=limits), refused)
    assert why.text() == f"p/m {told}"


def test_the_last_that_is_heard_of_a_candidate_counts_and_the_line_is_bounded() -> None:
    why = Why()
    attempt = Attempt(provider="p", model="m", outcome="authentication", status=401, latency_ms=1, cost_usd=None)
    why.refused(target(), admission(Refusal.THROTTLED))
    why.failed(target(), attempt)
    assert why.text() == "p/m authentication (401)"
    for place in range(20):
        why.failed(target("x" * 200 + str(place)), attempt)
    assert len(why.text()) == LONGEST
