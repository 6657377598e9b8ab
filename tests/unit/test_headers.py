"""Prefer, Cache-Control and Idempotency-Key."""

from __future__ import annotations

import pytest

from api.http.headers import asked_wait, body_digest, cache_mode, idempotency, idempotency_key, preferred_wait
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


def key_of(*values: bytes) -> str | None:
    return idempotency_key([(b"accept", b"*/*"), *((b"idempotency-key", value) for value in values)])


def test_the_same_body_in_another_order_has_the_same_digest() -> None:
    assert body_digest({"a": 1, "b": [2]}) == body_digest({"b": [2], "a": 1})
    assert body_digest({"a": 1}) != body_digest({"a": 2})
    assert body_digest({"a": [1, 2]}) != body_digest({"a": [2, 1]})


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b"8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (b'"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (b'"a \\"b\\" \\\\c"', 'a "b" \\c'),
        (b' "k" ', "k"),
        (b"order 7, part 2", "order 7, part 2"),
        (b'5"', '5"'),
        (b"x" * 255, "x" * 255),
    ],
)
def test_a_key_is_taken_bare_or_as_a_quoted_string(value: bytes, key: str) -> None:
    assert key_of(value) == key


def test_without_the_header_there_is_no_key() -> None:
    assert key_of() is None
    assert idempotency([(b"accept", b"*/*")], {}) is None


def test_a_key_and_a_body_are_stood_for_by_digests_however_they_are_spelled() -> None:
    def digests(key: bytes, body: object) -> tuple[str, str] | None:
        return idempotency([(b"idempotency-key", key)], body)

    assert digests(b"k", {"a": 1, "b": 2}) == digests(b'"k"', {"b": 2, "a": 1})
    assert digests(b"k", {}) != digests(b"l", {})
    assert b"secret" not in repr(digests(b"secret", {})).encode()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((b"",), "expected a key of 1 to 255 characters, got none"),
        ((b"  ",), "got none"),
        ((b'""',), "got none"),
        ((b"x" * 256,), "got 256"),
        ((b'"' + b"x" * 256 + b'"',), "got 256"),
        ((b"a\tb",), "printable ASCII"),
        ((b"\xff",), "printable ASCII"),
        ((b'"\x01"',), "printable ASCII"),
        ((b'"',), "one quoted string"),
        ((b'"a',), "one quoted string"),
        ((b'"a"b',), "one quoted string"),
        ((b'"a\\b"',), "one quoted string"),
        ((b'"a", "b"',), "one quoted string"),
        ((b"a", b"b"), "expected one key, got 2"),
    ],
)
def test_a_key_that_breaks_a_rule_is_refused_by_name(values: tuple[bytes, ...], told: str) -> None:
    with pytest.raises(ValidationFailed, match=f"Idempotency-Key: .*{told}"):
        key_of(*values)


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
        (("max-age=0",), "refresh"),
        (("no-store, max-age=0",), "off"),
        (("no-cachexyz",), None),
        (("",), None),
    ],
)
def test_cache_control_says_whether_an_old_answer_will_do(values: tuple[str, ...], mode: str | None) -> None:
    assert cache_mode([(b"cache-control", value.encode()) for value in values]) == mode


def test_only_if_cached_is_refused_since_a_job_is_run_where_the_cache_has_no_answer() -> None:
    with pytest.raises(ValidationFailed, match="Cache-Control: expected no only-if-cached"):
        cache_mode([(b"cache-control", b"max-age=60, Only-If-Cached")])


@pytest.mark.parametrize(
    ("preferred", "query", "wait_s"),
    [
        (None, None, None),
        (b"wait=5", None, 5),
        (None, "7", 7),
        (b"wait=5", "7", 5),
        (b"wait=9", "7", 7),
        (b"wait=9", "0", 0),
    ],
)
def test_of_both_ways_to_ask_for_a_wait_the_smaller_holds(
    preferred: bytes | None, query: str | None, wait_s: int | None
) -> None:
    headers = [] if preferred is None else [(b"prefer", preferred)]
    assert asked_wait(headers, query, limit_s=60) == wait_s
