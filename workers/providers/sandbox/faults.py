"""Faults: the rules in force, set while the sandbox runs, and how often each was used."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pydantic import TypeAdapter

from workers.providers.sandbox.rules import Action, Match, Rule

MOST_RULES = 1_000
_RULES: TypeAdapter[list[Rule]] = TypeAdapter(list[Rule])


@dataclass(frozen=True, slots=True)
class Request:
    """What a rule can see of a request."""

    wire: str
    instance: str
    path: str
    model: str
    prompt: str
    headers: Mapping[str, str]


class _Armed:
    """A rule and how often it matched and hit."""

    def __init__(self, rule: Rule, *, place: int) -> None:
        self.rule = rule
        self.matched = 0
        self.hits = 0
        self._chance = random.Random(place)  # noqa: S311  a dice that falls the same in every run is wanted

    def hit(self, request: Request) -> bool:
        rule = self.rule
        if self.hits == rule.times or not _matches(rule.match, request):
            return False
        self.matched += 1
        turn = self.matched - rule.after
        if turn < 1 or turn % rule.every or self._chance.random() >= rule.probability:
            return False
        self.hits += 1
        return True


def _matches(match: Match, request: Request) -> bool:
    pairs = ((match.wire, request.wire), (match.instance, request.instance), (match.path, request.path),
             (match.model, request.model))  # fmt: skip
    if not all(pattern == "*" or fnmatchcase(value, pattern) for pattern, value in pairs):
        return False
    if not all(fnmatchcase(request.headers.get(name, ""), pattern) for name, pattern in match.header.items()):
        return False
    return match.contains in request.prompt


class Faults:
    """The rules in force, in order: the first that hits a request decides it."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def replace(self, rules: bytes) -> None:
        """Take these rules (a JSON list, or one rule) in place of all others; ValueError when one is malformed."""
        text = rules.strip()
        parsed = _RULES.validate_json(b"[" + text + b"]" if text.startswith(b"{") else text)
        if len(parsed) > MOST_RULES:
            raise ValueError(f"expected at most {MOST_RULES} rules, got {len(parsed)}")
        self._armed = [_Armed(rule, place=place) for place, rule in enumerate(parsed)]

    def clear(self) -> None:
        """Drop all rules."""
        self._armed = []

    def pick(self, request: Request) -> Action | None:
        """Return what happens to this request, or None when no rule hits it."""
        return next((armed.rule.action for armed in self._armed if armed.hit(request)), None)

    def shown(self) -> Sequence[dict[str, Any]]:
        """Return the rules with how often each matched and hit."""
        return [
            {**armed.rule.model_dump(exclude_defaults=True), "matched": armed.matched, "hits": armed.hits}
            for armed in self._armed
        ]

    def __bool__(self) -> bool:
        return bool(self._armed)
