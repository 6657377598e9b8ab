"""The rules by which breakers open and close, as numbers that both gates go by."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from functools import lru_cache

import orjson

from infrastructure.core.config_core.sections import Breakers

JITTER = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """`breakers` of the configuration, in milliseconds."""

    failures: int = 5
    ratio: float = 0.5
    min_calls: int = 20
    window_ms: float = 30_000
    probe_ms: float = 10_000
    max_pause_ms: float = 300_000


@lru_cache(maxsize=16)
def rules_of(breakers: Breakers) -> Rules:
    """Return the rules that a configuration sets."""
    return Rules(
        failures=breakers.failures,
        ratio=breakers.ratio,
        min_calls=breakers.min_calls,
        window_ms=breakers.window_s * 1000,
        probe_ms=breakers.probe_s * 1000,
        max_pause_ms=breakers.max_pause_s * 1000,
    )


def jitter() -> float:
    """Return a factor for a pause: 20 % more or less, so that breakers which opened together are not tried together."""
    return random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  it spreads load and guards nothing


def encoded(rules: Rules) -> bytes:
    """Return the rules as a script reads them, with the jitter of this run: Redis's own random numbers repeat."""
    return orjson.dumps({**_plain(rules), "jitter": jitter()})


@lru_cache(maxsize=16)
def _plain(rules: Rules) -> dict[str, float]:
    return asdict(rules)
