"""What an answer's headers say: when to come again, and what is left of each limit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from workers.jobs.gate.models import Rates
from workers.providers.rates import rates, retry_after_s

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
DATE = "Sun, 01 Mar 2026 12:00:00 GMT"


def test_a_date_is_measured_from_the_answers_own_so_that_our_clock_does_not_matter() -> None:
    headers = {"retry-after": "Sun, 01 Mar 2026 12:00:20 GMT", "date": DATE}
    for off in (timedelta(hours=-1), timedelta(0), timedelta(hours=1)):
        assert retry_after_s(headers, now=NOW + off) == 20
    assert retry_after_s({**headers, "date": "yesterday"}, now=NOW) == 20


def test_milliseconds_are_read_where_a_provider_gives_them() -> None:
    assert retry_after_s({"retry-after-ms": "1500", "retry-after": "2"}, now=NOW) == 1.5
    assert retry_after_s({"retry-after-ms": "soon", "retry-after": "2"}, now=NOW) == 2
    assert retry_after_s({"retry-after-ms": "-5"}, now=NOW) == 0


def test_nothing_said_is_none() -> None:
    assert retry_after_s({}, now=NOW) is None
    assert rates({}, now=NOW) is None
    assert rates({"content-type": "application/json"}, now=NOW) is None
    assert rates({"x-ratelimit-limit-requests": "many"}, now=NOW) is None


@pytest.mark.parametrize(
    ("text", "ms"),
    [("1s", 1_000), ("6m0s", 360_000), ("17ms", 17), ("1h2m3.5s", 3_723_500), ("1d", 86_400_000), ("0s", 0), ("12", 12_000),
     ("0.5", 500), ("-3", 0), ("", None), ("soon", None), ("s", None), ("9" * 30 + "s", None)],
)  # fmt: skip
def test_openais_resets_are_durations(text: str, ms: int | None) -> None:
    found = rates({"x-ratelimit-limit-requests": "60", "x-ratelimit-reset-requests": text}, now=NOW)
    assert found == Rates(requests_limit=60, requests_reset_ms=ms)


def test_openais_headers_tell_both_limits() -> None:
    headers = {
        "x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms", "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-tokens": "29000", "x-ratelimit-reset-tokens": "2s",
    }  # fmt: skip
    assert rates(headers, now=NOW) == Rates(
        requests_limit=500, requests_left=499, requests_reset_ms=120, tokens_limit=30_000, tokens_left=29_000,
        tokens_reset_ms=2_000,
    )  # fmt: skip


def test_anthropics_resets_are_instants_measured_from_the_answers_own_date() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-03-01T12:00:12Z", "anthropic-ratelimit-tokens-limit": "40000",
        "anthropic-ratelimit-tokens-remaining": "1000", "anthropic-ratelimit-tokens-reset": "2026-03-01T11:59:00Z",
        "date": DATE,
    }  # fmt: skip
    assert rates(headers, now=NOW + timedelta(hours=1)) == Rates(
        requests_limit=50, requests_left=0, requests_reset_ms=12_000, tokens_limit=40_000, tokens_left=1_000,
        tokens_reset_ms=0,
    )  # fmt: skip
