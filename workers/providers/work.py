"""What an attempt is made of: the work that it is for, the call that the gate let through, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infrastructure.core.config_core import Settings
from workers.jobs.gate.models import Admission, Begin, TargetState
from workers.jobs.models import Attempt
from workers.providers.accounts import Account
from workers.providers.calls import Call
from workers.providers.classify import Failure
from workers.providers.estimate import Size
from workers.providers.flights.party import Party
from workers.providers.library import Library
from workers.providers.selection.selector import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one delivery works on, and with what."""

    call: Call
    settings: Settings
    party: Party
    size: Size
    library: Library
    accounts: Mapping[str, Account]
    probe: bool = False

    @property
    def remaining_s(self) -> float:
        """Return the seconds left to the most patient of those who wait."""
        return self.party.deadline() - time.monotonic()


@dataclass(frozen=True, slots=True)
class Opened:
    """A call that the gate let through; it has to be made, or ended."""

    choice: Choice
    asked: Begin
    admission: Admission


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """How an attempt ended: a result, or a failure. `state`: how the candidate stands since."""

    attempt: Attempt
    state: TargetState
    probing: bool
    result: dict[str, Any] | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnd:
    """What came of the call itself."""

    headers: Mapping[str, str]
    result: dict[str, Any] | None = None
    failure: Failure | None = None
    cost_usd: float | None = None
