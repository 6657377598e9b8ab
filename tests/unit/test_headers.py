"""Prefer, Cache-Control and Idempotency-Key."""

from __future__ import annotations

import pytest

from api.http.headers import cache_mode, idempotency, preferred_wait
from infrastructure.core.error_core import ValidationFailed


def prefer(*values: str) -> int | None:
    return preferred_wait([(b"prefer", value.encode()) for value in values], limit_s=60)


@pytest.mark.parametrize(
    ("values", "wait_s"),
    [
        ((), None),
        (("wait=10",), 10),
        (("respond-async, wait=10",), 10),
        (("respond-async", "wait=10"), 10),
        (("WAIT = 10",), 10),
        (('wait="10"',), 10),
        (("wait=10; strict=1",), 10),
        (("wait=0",), 0),
        (("wait=60",), 60),
        (("wait=5, wait=9",), 5),
        (("return=minimal",), None),
        (("await=5",), None),
        (("",), None),
    ],
)
def test_the_wait_is_found_among_the_preferences(values: tuple[str, ...], wait_s: int | None) -> None:
    assert prefer(*values) == wait_s


@pytest.mark.parametrize(
    "value", ["wait=61", "wait=-1", "wait=abc", "wait=", "wait=1.5", "wait=99999999999", "wait=\u0661"]
)
def test_a_wait_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(ValidationFailed, match="Prefer: expected the wait to be"):
        preferred_wait([(b"prefer", value.encode())], limit_s=60)


def digests(key: bytes, body: object) -> tuple[str, str] | None:
    return idempotency([(b"idempotency-key", key)], body)


def test_the_same_body_in_another_order_has_the_same_digest() -> None:
    assert digests(b"k", {"a": 1, "b": [2]}) == digests(b"k", {"b": [2], "a": 1})
    assert digests(b"k", {"a": 1}) != digests(b"k", {"a": 2})
    assert digests(b"k", {"a": [1, 2]}) != digests(b"k", {"a": [2, 1]})
    assert digests(b"k", {}) != digests(b"l", {})


def test_without_a_key_there_are_no_digests() -> None:
    assert idempotency([(b"accept", b"*/*")], {}) is None


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"a\tb", b"\xff", "é".encode()])
def test_a_key_that_is_too_long_or_unprintable_is_refused(key: bytes) -> None:
    with pytest.raises(ValidationFailed, match="Idempotency-Key"):
        digests(key, {})


def test_two_keys_are_refused() -> None:
    with pytest.raises(ValidationFailed, match="expected one key"):
        idempotency([(b"idempotency-key", b"a"), (b"idempotency-key", b"b")], {})


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        ((), None),
        (("no-cache",), "refresh"),
        (("No-Cache",), "refresh"),
        (("max-age=0, no-cache",), "refresh"),
        (('no-cache="set-cookie"',), "refresh"),
        (("no-store",), "off"),
        (("no-cache, no-store",), "off"),
        (("no-cache", "no-store"), "off"),
        (("max-age=60",), None),
        (("no-cachexyz",), None),
        (("",), None),
    ],
)
def test_cache_control_says_whether_an_old_answer_will_do(values: tuple[str, ...], mode: str | None) -> None:
    assert cache_mode([(b"cache-control", value.encode()) for value in values]) == mode
