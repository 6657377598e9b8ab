"""L1: bounded, honest about its size, and better than recency at what to keep."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from bisect import bisect
from collections import OrderedDict

import pytest

from infrastructure.core.cache_core.memory import Entry, Memory
from infrastructure.core.cache_core.names import Name
from infrastructure.core.cache_core.sketch import TOP, FrequencySketch


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def entry(payload: bytes = b"x", *, until: float = 1e12) -> Entry:
    return Entry(payload, written=0, until=until, stamp=b"1795410417592-0")


def name(number: int) -> Name:
    return ("-", f"key:{number}")


def memory(clock: Clock, *, entries: int = 100, size: int = 1_000_000) -> Memory:
    return Memory(max_entries=entries, max_bytes=size, clock=clock)


def test_what_is_put_is_found_until_its_time_is_over(clock: Clock) -> None:
    held = memory(clock)
    kept = entry(until=clock.now + 10)
    assert held.put(name(1), kept)
    assert held.get(name(1)) is kept
    assert held.get(name(2)) is None
    clock.now += 10
    assert held.get(name(1)) is None
    assert (len(held), held.counts.expired, held.counts.expired_unread) == (0, 1, 0)


def test_the_swept_are_the_expired_and_the_unread_among_them_are_counted(clock: Clock) -> None:
    held = memory(clock)
    held.put(name(1), entry(until=clock.now + 1))
    held.put(name(2), entry())
    clock.now += 2
    held.drop_expired(tuple(held.names()))
    assert list(held.names()) == [name(2)]
    assert held.counts.expired_unread == 1


def test_neither_entries_nor_bytes_ever_pass_their_limits(clock: Clock) -> None:
    chance = random.Random(7)
    for size in (20_000, 300_000, 4_000_000):
        held = memory(clock, entries=200, size=size)
        for _ in range(20_000):
            one = name(chance.randrange(2_000))
            action = chance.random()
            if action < 0.5:
                held.get(one)
            elif action < 0.97:
                held.put(one, entry(bytes(int(10 ** chance.uniform(0, 5.5)))))
            elif action < 0.99:
                held.drop(one)
            else:
                held.drop_where(lambda other: other[1].endswith("7"))
            assert held.bytes <= size
            assert len(held) <= 200
        names = list(held.names())
        assert len(names) == len(set(names)) == len(held)
        held.clear()
        assert (len(held), held.bytes) == (0, memory(clock, entries=200, size=size).bytes)


@pytest.mark.parametrize("size", [1_000, 100_000, 64_000_000])
def test_room_for_many_entries_takes_no_more_bytes_than_there_are(clock: Clock, size: int) -> None:
    held = memory(clock, entries=50_000_000, size=size)
    for number in range(1_000):
        held.put(name(number), entry(bytes(1_000)))
    assert held.bytes <= size


def test_log_uniform_sizes_up_to_a_megabyte_stay_within_the_bytes_really_used(clock: Clock) -> None:
    """The small form of `python -m tests.benchmarks cache`, which does a million."""
    chance = random.Random(5)
    limit = 20_000_000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = memory(clock, entries=10_000, size=limit)
        for number in range(8_000):
            held.put(name(number), entry(bytes(int(10 ** chance.uniform(0, 6)))))
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held.bytes <= limit
    assert used <= limit
    assert len(held) > 100


@pytest.mark.parametrize("payload", [0, 100, 5_000])
def test_the_bytes_counted_are_not_fewer_than_the_bytes_used(clock: Clock, payload: int) -> None:
    tracemalloc.start()
    try:
        held = memory(clock, entries=30_000, size=1_000_000_000)
        before, counted = tracemalloc.get_traced_memory()[0], held.bytes
        for number in range(20_000):
            one = Entry(bytes(payload + number % 3), written=number + 0.5, until=1e12 + number, stamp=b"%d-0" % number)
            held.put(("-", f"completion:{number:064d}"), one)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(held) == 20_000
    assert used <= held.bytes - counted <= used * 1.5


def test_an_entry_too_large_for_a_quarter_of_the_room_is_refused_and_its_old_value_is_gone(clock: Clock) -> None:
    held = memory(clock, size=100_000)
    held.put(name(1), entry(b"old"))
    assert not held.put(name(1), entry(bytes(30_000)))
    assert held.get(name(1)) is None
    assert held.counts.refused == 1


def test_the_hit_ratio_is_five_points_above_lru_on_a_zipf_stream(clock: Clock) -> None:
    chance = random.Random(1)
    weights = list(itertools.accumulate(1 / rank**0.9 for rank in range(1, 20_001)))
    stream = [bisect(weights, chance.random() * weights[-1]) for _ in range(60_000)]
    assert _hits(stream, memory(clock, entries=200)) > _lru_hits(stream, 200) + 0.05 * len(stream)


def test_what_was_popular_is_forgotten_when_the_world_changes(clock: Clock) -> None:
    held = memory(clock, entries=100)
    for _ in range(30):
        _hits(list(range(90)), held)
    again = [number for _ in range(60) for number in range(1_000, 1_090)]
    _hits(again, held)
    assert _hits(list(range(1_000, 1_090)), held) > 80


def test_a_scan_does_not_push_out_what_is_read_again_and_again(clock: Clock) -> None:
    held = memory(clock, entries=100)
    for _ in range(10):
        _hits(list(range(80)), held)
    _hits(list(range(10_000, 10_500)), held)
    assert _hits(list(range(80)), held) >= 75


def test_a_large_entry_must_be_worth_all_that_go_for_it(clock: Clock) -> None:
    held = memory(clock, entries=1_000, size=200_000)
    small = list(range(150))
    for _ in range(5):
        _hits(small, held, payload=bytes(500))
    kept = [number for number in small if held.peek(name(number))]
    held.get(name(-1))
    held.put(name(-1), entry(bytes(40_000)))
    assert [number for number in small if held.peek(name(number))] == kept


def test_the_sketch_never_counts_too_few_and_halves_with_time() -> None:
    sketch = FrequencySketch(1_000)
    for number in range(500):
        for _ in range(number % 5):
            sketch.count(name(number))
    assert all(sketch.estimate(name(number)) >= number % 5 for number in range(500))
    for _ in range(100):
        sketch.count("often")
    assert sketch.estimate("often") == TOP
    for number in range(10_000):
        sketch.count(name(10_000 + number))
    assert sketch.estimate("often") < TOP


def _hits(stream: list[int], held: Memory, *, payload: bytes = b"x") -> int:
    hits = 0
    for number in stream:
        if held.get(name(number)):
            hits += 1
        else:
            held.put(name(number), entry(payload))
    return hits


def _lru_hits(stream: list[int], places: int) -> int:
    held: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for number in stream:
        if number in held:
            hits += 1
            held.move_to_end(number)
        else:
            held[number] = None
            if len(held) > places:
                held.popitem(last=False)
    return hits
