"""The retry budget: when many calls fail at once, their retries must not become the next outage.

Tokens as in the AWS SDKs' standard retry mode: a retry takes some, its good answer gives them back, a good first answer
gives one. A process has one budget over all providers and one for each.
"""

from __future__ import annotations

from collections import defaultdict

from infrastructure.core.config_core.sections import Retries

OVERALL = ""


class RetryBudget:
    """Tokens of one process. A provider's account is made when it is first asked for: providers are few."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._left: defaultdict[str, int] = defaultdict(lambda: self._retries.tokens)

    def follow(self, retries: Retries) -> None:
        """Go by these settings from now on."""
        self._retries = retries

    def left(self, provider: str = OVERALL) -> int:
        """Return the tokens left, of a provider or over all."""
        return self._left[provider]

    def take(self, provider: str, *, throttled: bool) -> int | None:
        """Take what a retry with this provider costs and return it; None, and nothing taken, when there is too little.

        `throttled`: the call before it ended in a 429.
        """
        cost = self._retries.throttle_cost if throttled else self._retries.cost
        if min(self._left[provider], self._left[OVERALL]) < cost:
            return None
        self._left[provider] -= cost
        self._left[OVERALL] -= cost
        return cost

    def succeeded(self, provider: str, *, taken: int) -> None:
        """Give back what the retry took that brought a good answer, or one token for a good first answer."""
        self.give_back(provider, taken or 1)

    def give_back(self, provider: str, tokens: int) -> None:
        """Put tokens back; a budget never holds more than it began with."""
        for one in (provider, OVERALL):
            self._left[one] = min(self._left[one] + tokens, self._retries.tokens)
