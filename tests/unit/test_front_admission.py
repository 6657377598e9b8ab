"""What a refused submit is told, and who is looked at before its body is read."""

from __future__ import annotations

import pytest

from api.admission import (
    LATELY_S,
    TIGHT_S,
    Admission,
    Crowd,
    accepted_headers,
    possible_priorities,
    refusal_headers,
    retry_after_s,
)
from infrastructure.core.error_core import QueueFull, QueueTooSlow, TenantQueueFull
from infrastructure.core.performance_core import PerformanceTracker
from workers.jobs.models import Priority
from workers.jobs.room import Figures, Limits, Reason, Refused, Room

FIGURES = Figures(waiting=5, own_per_s=2.0, all_per_s=20.0)
LIMITS = Limits(of_tenant=5, of_all=100, reserve=0.1, age_s=30)
EVERY = tuple(Priority)


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("ahead", "per_s", "least_s", "most_s"),
    [
        (1, 20, 1, 1),  # a place is free at once, but nobody is told to come back at once
        (40, 20, 2, 3),
        (400, 20, 20, 24),
        (4_000, 20, 60, 60),
        (1, 0, 60, 60),  # nothing ends: nobody knows when
        (1, 0.01, 60, 60),
    ],
)
def test_retry_after_is_as_long_as_the_queue_takes_for_those_who_were_refused(
    ahead: int, per_s: float, least_s: int, most_s: int
) -> None:
    drawn = [retry_after_s(ahead, per_s=per_s, draw=lambda share=share: share) for share in (0.0, 0.5, 1.0)]  # type: ignore[misc]
    assert drawn == sorted(drawn)
    assert (drawn[0], drawn[-1]) == (least_s, most_s)


def test_the_crowd_is_those_of_the_last_seconds_of_one_line() -> None:
    clock = Clock()
    clock.now_s = 100 * LATELY_S
    crowd = Crowd(clock=clock)
    assert [crowd.add("a", tenant="a") for _ in range(3)] == [1, 2, 3]
    assert crowd.add(None, tenant="b") == 1
    clock.now_s += LATELY_S
    assert crowd.add("a", tenant="a") == 4
    clock.now_s += 2 * LATELY_S
    assert crowd.add("a", tenant="a") == 1


def test_a_tenant_is_looked_at_first_for_a_moment_after_a_refusal() -> None:
    clock = Clock()
    crowd = Crowd(clock=clock)
    assert not crowd.is_tight("a")
    crowd.add(None, tenant="a")
    assert (crowd.is_tight("a"), crowd.is_tight("b")) == (True, False)
    clock.now_s += TIGHT_S
    assert not crowd.is_tight("a")


def test_no_number_of_tenants_fills_the_memory() -> None:
    crowd = Crowd()
    for number in range(10_050):
        crowd.add(f"t{number}", tenant=f"t{number}")
    assert len(crowd._counts) == len(crowd._tight) == 10_000


@pytest.mark.parametrize(
    ("body", "priorities"),
    [
        (None, EVERY),
        (b'{"model": "m"}', (Priority.NORMAL,)),
        (b'{"priority": "high"}', (Priority.NORMAL, Priority.HIGH)),
        (b'{"priority":"low"}', (Priority.NORMAL, Priority.LOW)),
        (b'{"priority": "\\u0068igh"}', EVERY),
        (b'{"reasoning_effort": "low", "priority": "high"}', (Priority.NORMAL, Priority.HIGH, Priority.LOW)),
    ],
)
def test_what_a_body_may_ask_for_is_seen_in_its_bytes(body: bytes | None, priorities: tuple[Priority, ...]) -> None:
    assert possible_priorities(body) == priorities


def room(high: Reason | None, normal: Reason | None, low: Reason | None, *, known: bool = False) -> Room:
    refusals = {Priority.HIGH: high, Priority.NORMAL: normal, Priority.LOW: low}
    return Room(known=known, refusals=refusals, figures=FIGURES)


@pytest.mark.parametrize(
    ("found", "body", "let_in"),
    [
        (room(Reason.TENANT_FULL, Reason.TENANT_FULL, Reason.TENANT_FULL), None, False),
        (room(Reason.TENANT_FULL, Reason.TENANT_FULL, Reason.TENANT_FULL, known=True), None, True),
        (room(None, Reason.FULL, Reason.FULL), None, True),
        (room(None, Reason.FULL, Reason.FULL), b"{}", False),
        (room(None, Reason.FULL, Reason.FULL), b'{"priority":"high"}', True),
        (room(None, Reason.TOO_SLOW, None), b'{"priority":"low"}', True),
        (room(None, None, None), b"{}", True),
    ],
)
def test_only_who_cannot_get_in_at_all_is_turned_away_before_the_body_is_parsed(
    found: Room, body: bytes | None, let_in: bool
) -> None:
    tracker = PerformanceTracker("test")
    admission = Admission(tracker)
    if let_in:
        admission.check(found, body, tenant="t", limits=LIMITS, began=0)
        assert not tracker.snapshot().operations
        return
    with pytest.raises((TenantQueueFull, QueueFull)):
        admission.check(found, body, tenant="t", limits=LIMITS, began=0)


def test_each_refusal_is_counted_by_its_reason_with_the_time_of_its_decision() -> None:
    clock = Clock()
    tracker = PerformanceTracker("test")
    admission = Admission(tracker, clock=clock)
    for reason, count in ((Reason.TENANT_FULL, 3), (Reason.FULL, 2), (Reason.TOO_SLOW, 1)):
        for _ in range(count):
            refused = Refused(reason=reason, figures=FIGURES)
            admission.error(refused, tenant="t", limits=LIMITS, began=clock.now_s - 0.002)
    told = tracker.get_summary()["operations"]
    assert {name: one["count"] for name, one in told.items()} == {
        "rejected.tenant_queue_full": 3, "rejected.queue_full": 2, "rejected.queue_too_slow": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "kind", "status"),
    [(Reason.TENANT_FULL, TenantQueueFull, 429), (Reason.FULL, QueueFull, 503), (Reason.TOO_SLOW, QueueTooSlow, 503)],
)
def test_a_refusal_has_a_stable_code_a_sentence_and_a_time(reason: Reason, kind: type, status: int) -> None:
    error = Admission(PerformanceTracker("test")).error(
        Refused(reason=reason, figures=FIGURES), tenant="t", limits=LIMITS, began=0
    )
    assert type(error) is kind
    assert (error.code, error.status) == (reason.value, status)
    assert error.message.startswith("expected ")
    assert error.retry_after_s is not None
    assert 1 <= error.retry_after_s <= 60


def test_what_is_left_is_told_in_rate_limit_headers() -> None:
    policy = '"tenant";q=5;qu="concurrent-requests"'
    assert accepted_headers(LIMITS, 2) == {"RateLimit-Policy": policy, "RateLimit": '"tenant";r=3'}
    assert accepted_headers(Limits(), 2) == accepted_headers(LIMITS, None) == {}
    full = refusal_headers(Reason.TENANT_FULL, LIMITS, FIGURES, wait_s=7)
    assert full == {"RateLimit-Policy": policy, "RateLimit": '"tenant";r=0;t=7'}
    room_left = Figures(waiting=1, own_per_s=1, all_per_s=1)
    all_full = refusal_headers(Reason.FULL, LIMITS, room_left, wait_s=7)
    assert all_full["RateLimit-Policy"] == f'{policy}, "service";q=100;qu="concurrent-requests"'
    assert all_full["RateLimit"] == '"tenant";r=4, "service";r=0;t=7'
    assert refusal_headers(Reason.TOO_SLOW, Limits(age_s=1), room_left, wait_s=7) == {}
