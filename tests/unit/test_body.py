"""Strict JSON: what is refused, and that refusing is quick."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.http.body import parse
from infrastructure.core.error_core import InvalidJSON


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "expected JSON"),
        (b"{", "expected JSON"),
        (b'{"a":1}x', "expected JSON"),
        (b'{"a":NaN}', "expected JSON"),
        (b'{"a":Infinity}', "expected JSON"),
        (b'{"a":-Infinity}', "expected JSON"),
        (b'{"a":1e999}', "expected JSON"),
        (b'{"a":"\xff"}', "expected JSON in UTF-8"),
        (b'{"a":"\\ud800"}', "surrogate"),
        ('{"a":1}'.encode("utf-16"), "expected JSON in UTF-8"),
        (b"\xef\xbb\xbf{}", "expected JSON in UTF-8"),
        (b'{"a":1,"b":{"c":1,"c":2}}', "expected each key once in an object, got 'c' twice"),
        (b'{"a":1,"\\u0061":2}', "got 'a' twice"),
        (b'{"a":18446744073709551616}', "expected integers of at most 64 bits"),
        (b'{"a":-9223372036854775809}', "expected integers of at most 64 bits"),
        (b'{"a":' + b"9" * 300 + b"}", "expected integers of at most 64 bits"),
        (b'{"a":' + b"9" * 100_000 + b"}", "expected JSON"),
        (b"[" * 65 + b"]" * 65, "expected at most 64 levels"),
        (b"[" * 10_000 + b"]" * 10_000, "expected at most 64 levels"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "expected at most 64 levels"),
        (b"[" * 1_000_000, "expected at most 64 levels"),
    ],
)
def test_what_is_not_plain_json_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(InvalidJSON, match=told):
        parse(body, 64)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"[" * 64 + b"]" * 64, None),
        (b'{"a":"' + b"[" * 1_000 + b'"}', {"a": "[" * 1_000}),
        (b'{"a":"\\"' + b"{" * 100 + b'\\\\"}', {"a": '"' + "{" * 100 + "\\"}),
        (b'["' + b'","'.join([b"]"] * 100) + b'"]', ["]"] * 100),
        (b'{"a":"\\u0000"}', {"a": "\x00"}),
        (b' {"a":18446744073709551615,"b":-9223372036854775808}\n', {"a": 2**64 - 1, "b": -(2**63)}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "😀"}),
    ],
)
def test_unusual_json_is_read_as_it_stands(body: bytes, value: Any) -> None:
    assert parse(body, 64) == (json.loads(body) if value is None else value)


@given(st.recursive(st.none() | st.integers(-9, 9) | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
@settings(max_examples=50, deadline=None)
def test_what_json_writes_is_read_back(value: Any) -> None:
    assert parse(json.dumps(value).encode(), 64) == value


@pytest.mark.parametrize(
    "body",
    [b'"' + b'\\"' * 2_000_000, b"[" * 4_000_000, b'"[' * 2_000_000, b"[[]" + b",[]" * 300_000 + b"]", b"{" * 100 + b'"' * 4_000_000],
)  # fmt: skip
def test_hostile_bytes_are_judged_in_linear_time(body: bytes) -> None:
    started = time.process_time()
    with contextlib.suppress(InvalidJSON):
        parse(body, 64)
    assert time.process_time() - started < 3
