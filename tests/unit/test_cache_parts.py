"""The small parts of the cache: values as bytes, scopes, flights."""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import random
import tracemalloc
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.core.cache_core.envelope import MAX_BYTES, Damaged, comes_back, decode, encode, open_sealed, seal
from infrastructure.core.cache_core.flights import Flights
from infrastructure.core.cache_core.names import Names, name_of
from infrastructure.core.cache_core.scopes import Marks, Scope, instant, mark_name, read_scope

NAME = ("tenant-a", "key")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=10,
)  # fmt: skip


class Colour(enum.Enum):
    RED = "red"


def sealed(payload: bytes, stamp: bytes = b"1795410417592-0") -> bytes:
    """Do what the script does."""
    digest, rest = seal(NAME, payload, 300_000)
    return stamp + b"|" + hashlib.sha1(stamp + digest).hexdigest()[:8].encode() + digest + rest


@given(JSON | st.binary(max_size=2_000))
def test_every_json_value_and_all_bytes_come_back_as_they_were(value: Any) -> None:
    payload = encode(value)
    assert decode(payload) == value
    assert comes_back(value, payload)
    assert decode(open_sealed(NAME, sealed(payload)).payload) == value


@pytest.mark.parametrize("value", [object(), {1, 2}, dt.datetime.now(dt.UTC), {1: 2}, 2**70, "\ud800", [b"x"]])
def test_what_is_neither_json_nor_bytes_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="expected a cached value to be JSON or bytes"):
        encode(value)


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], (1, 2), {"a": (1,)}, uuid.uuid4(), Colour.RED, {"a": [Colour.RED]}]
)
def test_what_json_would_change_does_not_come_back(value: object) -> None:
    assert not comes_back(value, encode(value))


@pytest.mark.parametrize("size", [0, 10, 255, 256, 5_000])
def test_every_changed_byte_every_cut_and_anything_longer_is_noticed(size: int) -> None:
    raw = sealed(encode({"text": "a" * size}))
    assert open_sealed(NAME, raw).ttl_ms == 300_000
    for place in range(len(raw)):
        with pytest.raises(Damaged):
            open_sealed(NAME, raw[:place] + bytes([raw[place] ^ 0x41]) + raw[place + 1 :])
        with pytest.raises(Damaged):
            open_sealed(NAME, raw[:place])
    with pytest.raises(Damaged):
        open_sealed(NAME, raw + b"x")


def test_a_value_under_another_name_is_not_believed() -> None:
    raw = sealed(encode("secret of tenant a"))
    for other in (("tenant-b", "key"), ("tenant-a", "other"), ("tenant-a:k", "ey")):
        with pytest.raises(Damaged):
            open_sealed(other, raw)


def test_noise_is_never_a_value() -> None:
    chance = random.Random(3)
    for _ in range(2_000):
        with pytest.raises(Damaged):
            open_sealed(NAME, chance.randbytes(chance.randrange(200)))


def test_a_value_that_would_unpack_to_more_than_any_is_not_unpacked() -> None:
    """With a digest that is right: the size stands in the frame's head, and is looked at before a byte is unpacked."""
    bomb = sealed(b"j" + bytes(MAX_BYTES + 1))
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(Damaged):
            open_sealed(NAME, bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("payload", [b"", b"p\x80\x04.", b"J{}"])
def test_a_kind_of_value_of_another_version_is_not_believed(payload: bytes) -> None:
    with pytest.raises(Damaged):
        open_sealed(NAME, sealed(payload))


@pytest.mark.parametrize("stamp", [b"", b"1", b"1-", b"-1", b"x-1", b"1-x"])
def test_a_value_without_a_time_is_not_believed(stamp: bytes) -> None:
    with pytest.raises(Damaged):
        open_sealed(NAME, sealed(b"j1", stamp))


def test_a_decoded_value_is_a_copy() -> None:
    payload = encode({"list": [1]})
    decode(payload)["list"].append(2)
    assert decode(payload) == {"list": [1]}


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_two_names_never_share_a_key_in_redis(space: str, key: str, other: str, other_key: str) -> None:
    names = Names(prefix="aip", space="s")
    try:
        one, two = name_of(key, space), name_of(other_key, other)
    except ValueError:
        return
    assert (one == two) == (names.entry(one) == names.entry(two))
    assert names.entry(one) not in {names.log, names.marks, names.marked}


@pytest.mark.parametrize("namespace", ["", "a:b", "a b", "a\n", "é", "a" * 129])
def test_a_namespace_that_could_be_mistaken_is_refused(namespace: str) -> None:
    with pytest.raises(ValueError, match="expected namespace to be"):
        name_of("key", namespace)


@pytest.mark.parametrize(
    "scope", [Scope(), Scope("n"), Scope("n", None, "pre:fix*"), Scope("n", "key"), Scope("n", "\ud800")]
)
def test_a_scope_comes_back_from_the_log(scope: Scope) -> None:
    flat = scope.fields()
    assert read_scope(dict(zip(flat[::2], flat[1::2], strict=True))) == scope


def test_a_log_entry_of_an_unknown_kind_means_everything() -> None:
    assert read_scope({b"new": b"x"}) == Scope()
    assert read_scope({b"s": b"\xff", b"k": b"x"}) == Scope()


@pytest.mark.parametrize(("scope", "hidden"), [(Scope(), {"a", "b", "ab"}), (Scope("n"), {"a", "ab"}), (Scope("n", None, "a"), {"a", "ab"}),
                                               (Scope("n", None, "ab"), {"ab"}), (Scope("x"), set())])  # fmt: skip
def test_a_mark_hides_what_was_written_before_it_in_its_scope(scope: Scope, hidden: set[str]) -> None:
    names = {"a": ("n", "a:1"), "ab": ("n", "ab"), "b": ("m", "a:1")}
    marks = Marks()
    marks.learn(b"500-1", {mark_name(scope): b"500-1"})
    assert {short for short, name in names.items() if marks.hide(name, b"500-0")} == hidden
    assert not any(marks.hide(name, b"500-2") or marks.hide(name, b"1000-0") for name in names.values())


def test_a_mark_that_cannot_be_read_hides_all_that_is_older_than_the_last_mark() -> None:
    for rows in ({b"n:\xff": b"1-0"}, {b"n:": b"garbage"}):
        marks = Marks()
        marks.learn(b"500-1", rows)
        assert marks.hide(NAME, b"500-0")
        assert not marks.hide(NAME, b"500-2")
        marks.learn(b"garbage", rows)
        assert marks.hide(NAME, b"500-2")


def test_ids_of_the_log_are_compared_as_numbers() -> None:
    assert instant(b"999-10") < instant(b"1000-9") < instant(b"1000-10")


def test_a_flight_lets_only_what_was_not_changed_meanwhile() -> None:
    flights = Flights()
    with flights.over(NAME) as flight:
        assert flight.lets(None)
        assert flight.lets(b"1-0")
        flights.touch(NAME, b"2-0")
        assert not flight.lets(None)
        assert not flight.lets(b"1-0")
        assert flight.lets(b"2-0")
        with flights.over(NAME) as same:
            assert same is flight
        flights.touch_where(lambda name: name == NAME)
        assert not flight.lets(b"2-0")
        assert not flight.lets(b"")
    with flights.over(NAME) as later:
        assert later.lets(None)
