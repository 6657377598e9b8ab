"""A job in this process, and how its delivery ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TypeAlias

from workers.jobs.models import Claimed, Outcome
from workers.providers.litellm_manager import Answer, PutBack


@dataclass(frozen=True, slots=True)
class Ended:
    """The job has ended, with this outcome."""

    outcome: Outcome
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Aside:
    """The job has not ended: it waits until a candidate may be called."""

    put_back: PutBack


@dataclass(frozen=True, slots=True)
class Gone:
    """Somebody else has the job, or has ended it: nothing is to be written."""


End: TypeAlias = Ended | Aside | Gone


@dataclass(eq=False, slots=True)
class Running:
    """A job in this process: its call, and whether somebody else has taken the job from us."""

    job: Claimed
    hint: str = ""
    """The job whose message this is; what is due may be another one."""
    call: asyncio.Task[End] | None = None
    writing: bool = False
    taken: bool = False

    def stop(self) -> None:
        """Stop the call of a job that is not ours any more."""
        if not self.writing:
            self.taken = True
            if self.call is not None:
                self.call.cancel()
