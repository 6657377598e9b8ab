"""An account's limits, really kept: requests and tokens a minute, calls at once, and what the headers say of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

from workers.providers.sandbox.profiles import Limits

_SECOND_MS = 1_000
FULL_AGAIN_S = 1.0  # what a refusal for concurrency says: nobody knows when a call ends


class Bucket:
    """A quantity that flows back evenly: `capacity` over `window_s` seconds."""

    def __init__(self, capacity: int, *, window_s: float, now: float) -> None:
        self.capacity = capacity
        self._rate = capacity / window_s
        self._level = float(capacity)
        self._at = now

    def left(self, now: float) -> int:
        """Return what may be taken now."""
        self._level = min(self.capacity, self._level + (now - self._at) * self._rate)
        self._at = now
        return int(self._level + 1e-9)

    def take(self, amount: int, now: float) -> float:
        """Take an amount, or return the seconds until it is there. One that is above the capacity is never there whole."""
        missing = min(amount, self.capacity) - self.left(now)
        if missing > 0:
            return (min(amount, self.capacity) - self._level) / self._rate
        self._level -= amount
        return 0.0

    def give_back(self, amount: int) -> None:
        """Undo a take."""
        self._level += amount

    def full_in_s(self, now: float) -> float:
        """Return the seconds until it is as full as it gets."""
        self.left(now)
        return (self.capacity - self._level) / self._rate


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call too many: what ran out, and the seconds until it may be asked again."""

    what: str
    wait_s: float


class Limiter:
    """Decides on each call of an instance. `clock` gives monotonic seconds."""

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        now = clock()
        self._storm_until = now + limits.storm_s
        self._requests = _bucket(limits.requests_per_minute, limits, now)
        self._tokens = _bucket(limits.tokens_per_minute, limits, now)
        self._at_once = 0

    def admit(self, tokens: int) -> Refusal | None:
        """Take what a call of so many tokens needs, or all of nothing."""
        now = self._clock()
        if now < self._storm_until:
            return Refusal("requests", self._storm_until - now)
        if self.limits.concurrency is not None and self._at_once >= self.limits.concurrency:
            return Refusal("concurrent requests", FULL_AGAIN_S)
        if self._requests is not None and (wait_s := self._requests.take(1, now)):
            return Refusal("requests", wait_s)
        if self._tokens is not None and (wait_s := self._tokens.take(tokens, now)):
            if self._requests is not None:
                self._requests.give_back(1)
            return Refusal("tokens", wait_s)
        return None

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Hold one of the places for calls at once."""
        self._at_once += 1
        try:
            yield
        finally:
            self._at_once -= 1

    def headers(self, wire: str) -> Mapping[str, str]:
        """Return what an answer's headers say of the limits, in the wire format's own words."""
        now = self._clock()
        said: dict[str, str] = {}
        for what, bucket in (("requests", self._requests), ("tokens", self._tokens)):
            if bucket is not None:
                said |= _WORDS[wire](what, bucket.capacity, max(0, bucket.left(now)), bucket.full_in_s(now))
        return said

    def retry_after(self, refusal: Refusal) -> Mapping[str, str]:
        """Return the Retry-After of a refusal: whole seconds, rounded up, or the date that they lead to."""
        seconds = max(1, math.ceil(refusal.wait_s - 1e-9))
        match self.limits.retry_after:
            case "none":
                return {}
            case "date":
                return {"Retry-After": formatdate(time.time() + seconds, usegmt=True)}
            case _:
                return {"Retry-After": str(seconds)}


def _bucket(capacity: int | None, limits: Limits, now: float) -> Bucket | None:
    return None if capacity is None else Bucket(capacity, window_s=limits.window_s, now=now)


def _openai(what: str, limit: int, left: int, reset_s: float) -> dict[str, str]:
    return {f"x-ratelimit-limit-{what}": str(limit), f"x-ratelimit-remaining-{what}": str(left),
            f"x-ratelimit-reset-{what}": duration(reset_s)}  # fmt: skip


def _anthropic(what: str, limit: int, left: int, reset_s: float) -> dict[str, str]:
    at = datetime.now(UTC) + timedelta(seconds=math.ceil(reset_s))
    start = f"anthropic-ratelimit-{what}"
    return {f"{start}-limit": str(limit), f"{start}-remaining": str(left),
            f"{start}-reset": at.strftime("%Y-%m-%dT%H:%M:%SZ")}  # fmt: skip


_WORDS = {"openai": _openai, "anthropic": _anthropic}


def duration(seconds: float) -> str:
    """Return a duration as OpenAI's headers write it: `120ms`, `1.5s`, `6m0s`."""
    ms = math.ceil(seconds * 1000 - 1e-6)
    if ms < _SECOND_MS:
        return f"{ms}ms"
    minutes, rest = divmod(ms, 60 * _SECOND_MS)
    return f"{minutes}m{rest / _SECOND_MS:g}s" if minutes else f"{rest / _SECOND_MS:g}s"
