"""The order in which a request's candidates are asked: by tier, by draw and score, those that cool down last."""

from __future__ import annotations

import math
import random as random_module
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple, cast

from infrastructure.core.config_core.sections import Selection
from workers.jobs.gate.score import expected_usd
from workers.providers.calls import Target
from workers.providers.estimate import Size, likely_usd
from workers.providers.selection.draw import PAIR, first
from workers.providers.selection.standings import UNHEARD, Door, Standings

SPARED = 2
"""Times its timeout that a request must have left to try a candidate again: a hang leaves it time for another."""


class Choice(NamedTuple):
    """A candidate in its place. `score`: expected cost of one good answer in USD; `explored`: drawn without regard to it."""

    target: Target
    score: float
    explored: bool = False


_score = attrgetter("score")
_choice = cast("Callable[[tuple[Target, float, bool]], Choice]", partial(tuple.__new__, Choice))
"""Makes a choice without a step through Python, which is half of what a candidate takes."""


class Selector:
    """Puts candidates in order from what this process knows; asks nobody."""

    def __init__(self, standings: Standings, *, random: Callable[[], float] = random_module.random) -> None:
        self._standings = standings
        self._random = random

    def order(
        self, targets: Sequence[Target], size: Size, selection: Selection, *, left_s: float = math.inf
    ) -> list[Choice]:
        """Return the candidates, the first to be asked first; they come in the order of their tiers.

        A lower priority number is a tier of its own, asked before the next. In a tier come first those whose turn it is to
        be tried again (one call in the fleet gets through, the others lose a moment), then the drawn one, then the rest by
        score. A request that has but `left_s` seconds does not try one that may take them all: it asks that one behind all
        tiers. Those that take no calls now come last: the gate may know better by then.
        """
        order: list[Choice] = []
        shut: list[Choice] = []
        untried: list[Choice] = []
        ready: list[Choice] = []
        now, heard, own = self._standings.view()
        worth, exploration = selection.usd_per_second, selection.exploration
        prompt_tokens, answer_tokens = size.prompt_tokens, size.answer_tokens
        tier = None
        for target in targets:
            if (priority := target.provider.priority) != tier:
                tier, order, ready = priority, order + self._drawn(ready, exploration), []
            key = target.key
            terms, shut_until, door = heard(key, UNHEARD)
            price_usd = likely_usd(target, prompt_tokens, answer_tokens)
            choice = _choice((target, expected_usd(terms, price_usd, own(key, 0), worth), False))
            if now < shut_until:
                shut.append(choice)
            elif door is Door.OPEN:
                ready.append(choice)
            else:
                (order if left_s >= SPARED * target.provider.timeout_s else untried).append(choice)
        untried.sort(key=_score)
        shut.sort(key=_score)
        return order + self._drawn(ready, exploration) + untried + shut

    def _drawn(self, ready: list[Choice], exploration: float) -> list[Choice]:
        if len(ready) < PAIR:
            return ready
        place, explored = first([one.score for one in ready], exploration=exploration, random=self._random)
        chosen = ready.pop(place)
        if len(ready) > 1:
            ready.sort(key=_score)
        return [Choice(chosen.target, chosen.score, explored), *ready]
