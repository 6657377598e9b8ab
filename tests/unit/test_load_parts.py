"""The parts of the harness that judge: shares, percentiles, the moment of return, and a process whose clock is shifted."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time

from tests.support.clocks import ahead
from tests.support.steady import Run, Seen, outcomes, p95_ms, share


def seen(at_s: float, provider: str | None = "p1", *, took_ms: float | None = 100, code: str | None = None) -> Seen:
    finished = None if took_ms is None else at_s * 1000 + took_ms
    attempts = () if provider is None else ({"provider": provider, "outcome": "ok"},)
    return Seen(id=f"{at_s}", status="completed" if provider else "failed", code=code, created_ms=at_s * 1000,
                finished_ms=finished, cache="miss", attempts=attempts, result=None, cost_usd=None, saved_usd=None)  # fmt: skip


def test_the_95th_percentile_counts_what_never_ended_as_endless() -> None:
    jobs = [seen(n, took_ms=n + 1) for n in range(100)]
    assert p95_ms(jobs) == 95
    assert p95_ms([*jobs, *(seen(n, took_ms=None) for n in range(10))]) == math.inf


def test_a_share_is_of_all_jobs_the_failed_ones_too() -> None:
    assert share([seen(1), seen(2, "p2"), seen(3, None, code="x"), seen(4)], "p1") == 0.5
    assert outcomes([seen(1), seen(3, None, code="x")]) == {"completed": 1, "failed:x": 1}


def test_a_provider_is_back_when_it_has_most_of_its_share_and_not_with_one_probe() -> None:
    def who(second: int) -> str:
        return "p1" if second == 3 or second >= 8 else "p2"

    jobs = [seen(tenth / 10, who(tenth // 10) if tenth % 10 == 0 or tenth >= 80 else "p2") for tenth in range(200)]
    run = Run(jobs, {"back": 0.0}, 0.0)
    assert 7 < run.back_after_s("p1", since="back", usual=1.0) <= 8.5
    assert run.back_after_s("p3", since="back", usual=1.0) == math.inf
    assert run.back_after_s("p1", since="back", usual=0.0) == math.inf


def test_failed_calls_are_counted_over_all_attempts_of_all_jobs() -> None:
    bad = {"provider": "p1", "outcome": "provider_unavailable"}
    job = seen(1, "p2")
    job = Seen(**{**{name: getattr(job, name) for name in Seen.__slots__}, "attempts": (bad, bad, *job.attempts)})
    assert Run([job, seen(2)], {}, 0.0).failed_calls("p1") == 2


def test_a_shifted_process_has_another_hour_and_the_same_durations() -> None:
    program = (
        "import time, logging, email.utils; from datetime import UTC, datetime; a = time.monotonic();"
        "t = datetime.now(UTC); assert type(t) is type(datetime(2020, 1, 1, tzinfo=UTC)) and isinstance(t, datetime);"
        "print(time.time(), time.time_ns() / 1e9, t.timestamp(), logging.makeLogRecord({}).created,"
        " email.utils.parsedate_to_datetime(email.utils.formatdate()).timestamp());"
        "assert time.monotonic() - a < 60"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **ahead(3_600)}, capture_output=True, text=True, check=True, timeout=120)  # fmt: skip
    told = [float(word) for word in done.stdout.split()]
    assert all(3_590 < at - time.time() < 3_605 for at in told), told
