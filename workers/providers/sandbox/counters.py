"""Counters: what reached the sandbox, so that a test or a benchmark can compare it with what was meant to."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import Any, Self

from workers.providers.sandbox.timeline import Timeline

MOST_NAMES = 1_000
MOST_DIGESTS = 1_000_000
OTHER = "(other)"
MODELS_PATH = "/v1/models"


class Tally:
    """A counter by name that keeps a bounded number of names; the rest are counted together."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count one."""
        known = name in self._counts or len(self._counts) < MOST_NAMES
        self._counts[name if known else OTHER] += 1

    def shown(self) -> dict[str, int]:
        """Return the counts by name."""
        return dict(sorted(self._counts.items()))


class Counters:
    """Counts since the start or the last reset. Requests to the control plane are not counted."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Count from nothing again; what is in flight stays, and is the first peak."""
        self._requests = 0
        self._peak = self.in_flight
        self._tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self._digests: set[int] = set()
        self._repeated = 0
        self._uncounted = 0
        self._first: float | None = None
        self._last: float | None = None
        self._timeline = Timeline()

    def visit(self, *, instance: str, path: str) -> Visit:
        """Count a request that begins; it is in flight until the `with` block of what is returned ends."""
        self._last = time.monotonic() - self._started
        self._first = self._last if self._first is None else self._first
        self._requests += 1
        self.in_flight += 1
        self._peak = max(self._peak, self.in_flight)
        self._tallies["by_instance"].add(instance)
        self._tallies["by_path"].add(path)
        visit = Visit(self, instance=instance, second=int(self._last))
        self.happened(visit, "models" if path == MODELS_PATH else "calls")
        return visit

    def asked(self, *, model: str, digest: int) -> None:
        """Count the model and the conversation of a request that could be read."""
        self._tallies["by_model"].add(model)
        if digest in self._digests:
            self._repeated += 1
        elif len(self._digests) < MOST_DIGESTS:
            self._digests.add(digest)
        else:
            self._uncounted += 1

    def decided(self, visit: Visit, outcome: str) -> None:
        """Count what a request got, once for each."""
        self._tallies["by_status"].add(outcome)
        self.happened(visit, outcome)

    def happened(self, visit: Visit, what: str) -> None:
        """Count something in the second in which the request came."""
        self._timeline.add(visit.instance, visit.second, what)

    def over_time(self) -> dict[str, Any]:
        """Return what each instance had by second of arrival: `calls`, `models` (looks at the list), and what they got.

        Seconds count since the sandbox started, as `now_s` does.
        """
        return {"now_s": time.monotonic() - self._started, "instances": self._timeline.shown()}

    def shown(self) -> dict[str, Any]:
        """Return all counters; times are seconds since the sandbox started.

        `different_prompts` and `repeated_prompts` tell conversations apart by digest, the first million of them;
        `prompts_beyond_count` came after those.
        """
        return {
            "requests": self._requests,
            "in_flight": self.in_flight,
            "peak_in_flight": self._peak,
            "different_prompts": len(self._digests),
            "repeated_prompts": self._repeated,
            "prompts_beyond_count": self._uncounted,
            "first_request_s": self._first,
            "last_request_s": self._last,
            "uptime_s": time.monotonic() - self._started,
            **{name: self._tallies[name].shown() for name in ("by_instance", "by_path", "by_model", "by_status")},
        }


class Visit:
    """One request from its arrival to its end."""

    __slots__ = ("_counters", "_decided", "instance", "second")

    def __init__(self, counters: Counters, *, instance: str, second: int) -> None:
        self.instance = instance
        self.second = second
        self._counters = counters
        self._decided = False

    def asks(self, *, model: str, digest: int) -> None:
        """Count the model and the conversation."""
        self._counters.asked(model=model, digest=digest)

    def decide(self, outcome: str) -> None:
        """Count what the request gets: a status, or `hang`, `reset`, `cut`, `gone` (the client left before)."""
        if not self._decided:
            self._decided = True
            self._counters.decided(self, outcome)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.decide("gone")
        self._counters.in_flight -= 1
