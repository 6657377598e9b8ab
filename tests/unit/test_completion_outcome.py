"""What a job's end says it cost, with what earlier deliveries of it are known to have cost."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from infrastructure.core.config_core import Settings
from workers.handlers.completion import TELLING_S, _call, _completed
from workers.jobs import codec
from workers.jobs.models import Attempt, Claimed, Fence, Job, ReadyClass, Status
from workers.providers.calls import Answer

LOST = Attempt(provider="p", model="m", outcome="lost", status=None, latency_ms=1, cost_usd=None)
HIT = Answer(result={}, usage=None, cost_usd=0.0, attempts=(), provider="p", model="m", cache="hit", saved_usd=0.5)


def job(*attempts: Attempt, **fields: object) -> Claimed:
    """Return a claimed job that was tried before."""
    made = Claimed(
        fence=Fence("job_1", "w1", "n", "1:n"), tenant="t", kind="completion", model="m",
        request=codec.pack({"model": "m", "params": {}}), ready_class=ReadyClass.NORMAL, deliveries=2, deaths=1,
        remaining_ms=10_000, age_ms=5, config_version="", attempts=attempts,
    )  # fmt: skip
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("earlier", "answered", "total"),
    [
        ((), 0.0, 0.0),
        ((LOST,), 0.0, None),
        ((LOST,), 0.25, 0.25),
        ((replace(LOST, cost_usd=0.5),), 0.0, 0.5),
        ((replace(LOST, cost_usd=0.5), LOST), 0.25, 0.75),
        ((replace(LOST, cost_usd=0.5),), None, None),
    ],
)
def test_a_free_answer_does_not_make_a_lost_call_free(
    earlier: tuple[Attempt, ...], answered: float | None, total: float | None
) -> None:
    assert _completed(job(*earlier), replace(HIT, cost_usd=answered)).cost_usd == total


def test_a_deadline_counts_from_the_claim_whatever_was_waited_for_since() -> None:
    claimed = job(claimed_at=time.monotonic() - 4)
    assert claimed.remaining_s == pytest.approx(6, abs=0.5)
    assert _call(claimed, Settings()).deadline == pytest.approx(time.monotonic() + 6 - TELLING_S, abs=0.5)


def test_a_cost_is_complete_when_it_is_known_of_every_attempt() -> None:
    ended = Job(
        id="job_1", tenant="t", kind="completion", status=Status.COMPLETED, model="m", created_ms=0, cost_usd=0.5
    )
    refused, answered = (
        replace(LOST, outcome="provider_unavailable", cost_usd=0.0),
        replace(LOST, outcome="ok", cost_usd=0.5),
    )
    assert replace(ended, attempts=(refused, answered)).cost_complete
    assert not replace(ended, attempts=(LOST, answered)).cost_complete
    assert not replace(ended, cost_usd=None).cost_complete
