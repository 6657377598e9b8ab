"""Signatures and the schedule of webhooks."""

from __future__ import annotations

import base64
import secrets
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from workers.jobs.webhooks import signing
from workers.jobs.webhooks.schedule import ATTEMPTS, LONGEST_WAIT_S, WAITS_S, retry_after_s, wait_ms

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def test_a_thousand_signatures_are_good_for_the_reference_library() -> None:
    verified = 0
    for number in range(1_000):
        key = signing.secret_key(secrets.token_bytes(32), f"whk_{number}", signing.new_salt())
        body = secrets.token_bytes(number).hex().encode() or b"{}"
        headers = signing.signed_headers(f"evt_{number}", int(time.time()), body, keys=[key])
        Webhook(signing.shown_secret(key)).verify(body, headers, json_parse=False)
        verified += 1
        with pytest.raises(WebhookVerificationError):
            Webhook(signing.shown_secret(key)).verify(body + b" ", headers, json_parse=False)
    assert verified == 1_000


def test_a_secret_has_32_bytes_and_no_two_generations_endpoints_or_services_share_one() -> None:
    salt = signing.new_salt()
    keys = {
        signing.secret_key(service, endpoint, one)
        for service in (b"s" * 32, b"t" * 32)
        for endpoint in ("whk_1", "whk_2")
        for one in (salt, signing.new_salt())
    }
    assert len(keys) == 8
    assert {len(key) for key in keys} == {32}
    shown = signing.shown_secret(keys.pop())
    assert len(base64.b64decode(shown.removeprefix("whsec_"), validate=True)) == 32


def test_of_two_keys_each_signs() -> None:
    old, new = secrets.token_bytes(32), secrets.token_bytes(32)
    headers = signing.signed_headers("evt_1", int(time.time()), b"{}", keys=[new, old])
    assert len(headers["webhook-signature"].split(" ")) == 2
    for key in (old, new):
        Webhook(signing.shown_secret(key)).verify(b"{}", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.shown_secret(secrets.token_bytes(32))).verify(b"{}", headers)


def test_the_schedule_has_ten_steps_and_three_days() -> None:
    waits = [wait_ms(tried, draw=lambda: 0.5) for tried in range(1, ATTEMPTS + 1)]
    assert waits == [1_000 * wait_s for wait_s in WAITS_S] + [None]
    assert timedelta(days=3) < timedelta(seconds=sum(WAITS_S)) < timedelta(days=4)


@given(st.integers(1, ATTEMPTS - 1), st.floats(0, 1))
def test_a_wait_is_a_tenth_more_or_less(tried: int, draw: float) -> None:
    wait = wait_ms(tried, draw=lambda: draw)
    assert wait is not None
    assert 0.899 <= wait / 1_000 / WAITS_S[tried - 1] <= 1.101


def test_a_receiver_may_ask_for_a_longer_wait_of_up_to_a_day() -> None:
    assert wait_ms(1, asked_s=60, draw=lambda: 0.5) == 60_000
    assert wait_ms(2, asked_s=60, draw=lambda: 0.5) == 300_000
    assert wait_ms(1, asked_s=1e12) == 1_000 * LONGEST_WAIT_S
    assert wait_ms(ATTEMPTS, asked_s=60) is None


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("0", 0), ("7", 7), ("61", 61), ("1000000000", 1e9), ("-5", None), ("", None), (None, None), ("soon", None), ("1e3", None),
        ("\u0661", None), ("9" * 65, None), ("Mon, 05 Jan 2026 12:02:00 GMT", 120), ("Mon, 05 Jan 2026 11:00:00 GMT", None),
        ("Mon, 99 Jan 2026 11:00:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_whatever_it_says(text: str | None, asked: float | None) -> None:
    assert retry_after_s(text, now=lambda: NOW) == asked
