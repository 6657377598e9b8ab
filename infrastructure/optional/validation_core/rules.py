"""Rules with names: what is to hold, under which code it is told that it does not, in which words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken. `code` is stable; `field` names the place where there is one."""

    rule: str
    code: str
    message: str
    field: str | None = None

    def as_json(self) -> dict[str, str]:
        """Return the violation as an entry of `errors` in an answer."""
        return {"field": self.field or self.rule, "message": self.message}


@dataclass(frozen=True)
class Rule(Generic[T]):
    """Something that is to hold of a value.

    `message` is a sentence, or makes one of the value; it never repeats a prompt or a secret.
    """

    name: str
    code: str
    message: str | Callable[[T], str]
    holds: Callable[[T], bool]
    field: str | None = None

    def check(self, value: T) -> Violation | None:
        """Return the violation, None when the rule holds."""
        if self.holds(value):
            return None
        message = self.message if isinstance(self.message, str) else self.message(value)
        return Violation(self.name, self.code, message, self.field)


class RuleSet(Generic[T]):
    """Rules in order. Sets are put together with `+`."""

    __slots__ = ("_rules",)

    def __init__(self, *rules: Rule[T]) -> None:
        """Keep the rules.

        Raises:
            ValueError: two have the same name.
        """
        names = [rule.name for rule in rules]
        if len(names) != len(set(names)):
            raise ValueError(f"expected rules with different names, got {', '.join(names)}")
        self._rules = rules

    def __add__(self, other: RuleSet[T]) -> RuleSet[T]:
        return RuleSet(*self._rules, *other)

    def __iter__(self) -> Iterator[Rule[T]]:
        return iter(self._rules)

    def check(self, value: T) -> tuple[Violation, ...]:
        """Return every violation, in order of the rules; none when all hold."""
        return tuple(found for rule in self._rules if (found := rule.check(value)) is not None)

    def first(self, value: T) -> Violation | None:
        """Return the first violation; the rules behind it are not asked, and may rely on those before."""
        return next((found for rule in self._rules if (found := rule.check(value)) is not None), None)
