"""Rules put together, and data that tells when it was changed."""

from __future__ import annotations

import random

import pytest

from infrastructure.optional.validation_core import DataCorrupt, Rule, RuleSet, Violation, seal, unseal

POSITIVE: Rule[int] = Rule("positive", "not_positive", "expected a positive number", lambda n: n > 0)
EVEN: Rule[int] = Rule("even", "not_even", lambda n: f"expected an even number, got {n}", lambda n: n % 2 == 0, "n")


def test_all_violations_are_told_in_order_of_the_rules() -> None:
    rules = RuleSet(POSITIVE, EVEN)
    assert rules.check(4) == ()
    assert rules.check(-3) == (
        Violation("positive", "not_positive", "expected a positive number"),
        Violation("even", "not_even", "expected an even number, got -3", "n"),
    )
    assert [found.as_json()["field"] for found in rules.check(-3)] == ["positive", "n"]


def test_the_first_violation_spares_the_rules_behind_it() -> None:
    asked: list[int] = []

    def ask(n: int) -> bool:
        asked.append(n)
        return True

    rules = RuleSet(POSITIVE, Rule("asked", "asked", "", ask))
    found = rules.first(-1)
    assert found is not None
    assert (found.code, asked) == ("not_positive", [])
    assert rules.first(1) is None
    assert asked == [1]


def test_sets_are_put_together_and_names_stay_single() -> None:
    assert [rule.name for rule in RuleSet(POSITIVE) + RuleSet(EVEN)] == ["positive", "even"]
    with pytest.raises(ValueError, match="expected rules with different names, got even, even"):
        RuleSet(EVEN) + RuleSet(EVEN)


def test_what_was_sealed_comes_back() -> None:
    for data in (b"", b"x", bytes(range(256)) * 100):
        assert unseal(seal(data)) == data


def test_every_single_changed_byte_and_every_cut_is_noticed() -> None:
    sealed = seal(b"an answer that was paid for")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= random.Random(place).randint(1, 255)
        for damaged in (bytes(changed), sealed[:place]):
            with pytest.raises(DataCorrupt, match="expected stored data to be as it was written"):
                unseal(damaged)
