"""Where it is booked what answers without a call have saved."""

from __future__ import annotations

from typing import Protocol


class Savings(Protocol):
    """Books without being waited for; never raises. `saved_usd` None: unknown."""

    def hit(self, *, tenant: str, provider: str, model: str, saved_usd: float | None) -> None:
        """Book an answer out of the cache."""

    def joined(self, *, tenant: str, provider: str, model: str, saved_usd: float | None) -> None:
        """Book an answer that another request paid for."""


class NullSavings:
    """Books nothing."""

    def hit(self, *, tenant: str, provider: str, model: str, saved_usd: float | None) -> None:
        """Forget it."""

    def joined(self, *, tenant: str, provider: str, model: str, saved_usd: float | None) -> None:
        """Forget it."""
