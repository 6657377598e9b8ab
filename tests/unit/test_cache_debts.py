"""What Redis has not been told: the later change of a name holds, bounds hold, and what is lost is counted and said once."""

from __future__ import annotations

from typing import Any

import pytest

from infrastructure.core.cache_core import debts
from infrastructure.core.cache_core.changes import Change
from infrastructure.core.cache_core.debts import Debts, Troubles
from infrastructure.core.cache_core.scopes import Scope
from infrastructure.core.logger_core import get_logger
from tests.support.logs import caught_log


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def owing(clock: Clock) -> Debts:
    return Debts(Troubles(), clock=clock, log=get_logger("test", "cache"))


def keep(key: str, value: bytes = b"v", *, until: float = 110.0) -> Change:
    return Change(Scope("-", key), "", [], [value], until)


def forget(*scope: Any) -> Change:
    return Change(Scope(*scope), "", [], [])


def due(owing: Debts) -> tuple[set[Scope], list[tuple[str | None, Any]]]:
    owed, held = owing.due()
    return set(owed), [(change.scope.key, change.args[0]) for change in held]


def test_the_last_value_of_a_name_is_held(owing: Debts) -> None:
    for value in (b"1", b"2"):
        owing.add(keep("x", value))
    assert due(owing) == (set(), [("x", b"2")])
    assert not owing


@pytest.mark.parametrize("scope", [("-", "x"), ("-", None, "x"), ("-",), ()])
def test_what_is_forgotten_after_it_was_set_is_not_kept_and_what_is_set_after_that_is(
    owing: Debts, scope: tuple[Any, ...]
) -> None:
    owing.add(keep("x", b"before"))
    owing.add(forget(*scope))
    assert due(owing) == ({Scope(*scope)}, [])
    owing.add(forget(*scope))
    owing.add(keep("x", b"after"))
    assert due(owing) == ({Scope(*scope)}, [("x", b"after")])


def test_an_invalidation_of_other_names_leaves_a_value(owing: Debts) -> None:
    owing.add(keep("x"))
    owing.add(forget("-", None, "y"))
    owing.add(forget("else"))
    assert due(owing)[1] == [("x", b"v")]


def test_a_value_whose_time_is_over_is_lost_and_no_older_one_comes_back(owing: Debts, clock: Clock) -> None:
    owing.add(keep("x"))
    owing.add(keep("y", until=200))
    owing.add(keep("late", until=100))
    clock.now = 110.0
    assert due(owing) == ({Scope("-", "x"), Scope("-", "late")}, [("y", b"v")])
    with caught_log() as log:
        owing.tell()
        owing.tell()
    assert log.line["message"] == "Cache could not keep values in Redis"
    assert log.line["context"] == {"count": 2}
    assert log.line["level"] == "WARNING"


@pytest.mark.parametrize(("count", "size"), [(debts.HELD + 3, 1), (debts.HELD_BYTES // 1_000_000 + 3, 1_000_000)])
def test_what_is_held_is_bounded_in_number_and_in_bytes_and_the_oldest_go(owing: Debts, count: int, size: int) -> None:
    for number in range(count):
        owing.add(keep(f"{number}", b"v" * size))
    owed, held = due(owing)
    assert owed == {Scope("-", f"{number}") for number in range(3)}
    assert [key for key, _ in held] == [f"{number}" for number in range(3, count)]


def test_more_to_forget_than_is_remembered_is_everything(owing: Debts) -> None:
    for number in range(debts.OWED + 1):
        owing.add(forget("-", f"{number}"))
    assert due(owing) == ({Scope()}, [])


def test_a_steady_loss_is_said_once_a_minute_with_its_count(owing: Debts, clock: Clock) -> None:
    with caught_log() as log:
        for _ in range(5):
            owing.count_lost()
            owing.tell(at_most_each_minute=True)
        clock.now += debts.TELL_EVERY_S
        owing.tell(at_most_each_minute=True)
    assert [line["context"]["count"] for line in log.lines] == [1, 4]


def test_what_is_still_held_at_the_end_is_lost(owing: Debts) -> None:
    owing.add(keep("x"))
    with caught_log() as log:
        owing.give_up()
    assert log.line["context"] == {"count": 1}
    assert not owing.held
