"""Flights for tests: plain text as answers, leaders that answer when they are told to, and the processes' twins."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from infrastructure.core.redis_core import connect
from workers.providers.flights.flights import Flights
from workers.providers.flights.party import Party

LEASE_S = 0.8


class Verdict(Exception):
    """What a provider says of a request; holds for everyone."""


class Unavailable(Exception):
    """What says nothing of the request."""


class TextWire:
    """Answers that are texts."""

    def verdict(self, error: Exception) -> tuple[str, str] | None:
        """Return a Verdict's text."""
        return ("verdict", str(error)) if isinstance(error, Verdict) else None

    def error(self, verdict: tuple[str, str]) -> Exception:
        """Return the Verdict."""
        return Verdict(verdict[1])

    def fields(self, answer: str) -> dict[str, Any]:
        """Return the answer's JSON."""
        return {"text": answer}

    def answer(self, fields: dict[str, Any]) -> str:
        """Return the answer."""
        text: str = fields["text"]
        return text


class Provider:
    """Leads calls: counts them, and answers each when `ready` is set, with `answer` or by raising it."""

    def __init__(self, answer: str | Exception = "four", *, ready: bool = False) -> None:
        self.answer = answer
        self.calls = 0
        self.stopped = 0
        self.parties: list[Party] = []
        self.ready = asyncio.Event()
        if ready:
            self.ready.set()

    async def __call__(self, party: Party) -> str:
        """Make a call."""
        self.calls += 1
        self.parties.append(party)
        try:
            await self.ready.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def soon(within_s: float = 10) -> float:
    """Return a deadline."""
    return time.monotonic() + within_s


@asynccontextmanager
async def process(
    url: str | None, owner: str, *, lease_s: float = LEASE_S, kept_s: float = 30
) -> AsyncIterator[Flights[str]]:
    """Give the flights of what stands for a process, with connections of its own."""
    redis = None if url is None else connect(url, max_connections=4)
    flights: Flights[str] = Flights(redis, owner=owner, lease_s=lease_s, kept_s=kept_s, wire=TextWire())
    await flights.start()
    try:
        yield flights
    finally:
        await flights.close()
        if redis is not None:
            await redis.aclose()
