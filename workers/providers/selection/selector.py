"""The order in which a request's candidates are asked: by tier, by draw and score, those that cool down last."""

from __future__ import annotations

import itertools
import random as random_module
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

from infrastructure.core.config_core.sections import Selection
from workers.jobs.gate.score import expected_usd
from workers.providers.calls import Target
from workers.providers.estimate import Size, likely_usd
from workers.providers.selection.draw import first
from workers.providers.selection.standings import Door, Standings


class Choice(NamedTuple):
    """A candidate in its place. `score`: expected cost of one good answer in USD; `explored`: drawn without regard to it."""

    target: Target
    score: float
    explored: bool = False


_priority = attrgetter("provider.priority")
_score = attrgetter("score")


class Selector:
    """Puts candidates in order from what this process knows; asks nobody."""

    def __init__(self, standings: Standings, *, random: Callable[[], float] = random_module.random) -> None:
        self._standings = standings
        self._random = random

    def order(self, targets: Sequence[Target], size: Size, selection: Selection) -> list[Choice]:
        """Return the candidates, the first to be asked first.

        A lower priority number is a tier of its own, asked before the next. In a tier come first those whose turn it is to
        be tried again (one call in the fleet gets through, the others lose a moment), then the drawn one, then the rest by
        score. Those that take no calls now come behind all tiers: the gate may know better by then.
        """
        order: list[Choice] = []
        shut: list[Choice] = []
        tokens, usd_per_second = (size.prompt_tokens, size.answer_tokens), selection.usd_per_second
        for _, tier in itertools.groupby(targets, key=_priority):
            ready: list[Choice] = []
            for target in tier:
                state, door, own = self._standings.look((target.name, target.model))
                score = expected_usd(state, likely_usd(target, *tokens), own, usd_per_second)
                place = ready if door is Door.OPEN else shut if door is Door.SHUT else order
                place.append(Choice(target, score))
            order += self._drawn(ready, selection.exploration)
        shut.sort(key=_score)
        return order + shut

    def _drawn(self, ready: list[Choice], exploration: float) -> list[Choice]:
        if not ready:
            return ready
        place, explored = first([one.score for one in ready], exploration=exploration, random=self._random)
        chosen = ready.pop(place)
        ready.sort(key=_score)
        return [Choice(chosen.target, chosen.score, explored), *ready]
