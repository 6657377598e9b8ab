"""The composite performance score of a candidate: what one good answer of it is expected to cost."""

from __future__ import annotations

from typing import NamedTuple

from workers.jobs.gate.models import TargetState

PRIOR_LATENCY_MS = 1_000.0
"""Of a candidate that has not answered yet: hopeful, so that it is tried."""
PRIOR_PRICE_USD = 0.005
"""Of a call whose price is unknown: about a thousand tokens in and five hundred out of a middling model."""
DEFAULT_CONCURRENCY = 1_000.0
LEAST_SUCCESS = 0.01


class Parts(NamedTuple):
    """What a score is made of: value = (price_usd + waiting_usd) * (1 + throttle) / success."""

    price_usd: float
    waiting_usd: float
    """What the time until the answer is worth: latency, longer with calls in flight."""
    throttle: float
    """Share of 429s, 0 to 1."""
    success: float
    """Share of good answers, LEAST_SUCCESS to 1."""


class Score(NamedTuple):
    """Expected cost of one good answer in USD, less being better, and its parts."""

    value: float
    parts: Parts


def expected_cost(
    state: TargetState, *, price_usd: float | None, own_in_flight: int = 0, usd_per_second: float
) -> Score:
    """Return the expected cost of one good answer of a candidate.

    A call that fails or is refused costs its time, and its price where it is billed, and has to be made again: so both are
    divided by the share that succeeds. Calls in flight count against the learnt limit of concurrency, where there is one.

    Args:
        state: how the candidate stands in the fleet.
        price_usd: of a typical call; None when unknown: PRIOR_PRICE_USD.
        own_in_flight: of this process, where it knows better than the state, which is a little old.
        usd_per_second: what a second of waiting is worth.
    """
    parts = _parts(state, price_usd, own_in_flight, usd_per_second)
    return Score(_value(*parts), Parts(*parts))


def expected_usd(state: TargetState, price_usd: float | None, own_in_flight: int, usd_per_second: float) -> float:
    """Return the value of `expected_cost` without its parts, for those who order candidates at every call."""
    return _value(*_parts(state, price_usd, own_in_flight, usd_per_second))


def _parts(
    state: TargetState, price_usd: float | None, own_in_flight: int, usd_per_second: float
) -> tuple[float, float, float, float]:
    latency_ms, in_flight, success = state.latency_ms, state.in_flight, state.success
    in_flight = max(in_flight, own_in_flight)
    load = in_flight / (state.concurrency_limit or DEFAULT_CONCURRENCY)
    return (
        PRIOR_PRICE_USD if price_usd is None else price_usd,
        usd_per_second * (PRIOR_LATENCY_MS if latency_ms is None else latency_ms) / 1000 * (1 + load),
        state.throttle,
        max(LEAST_SUCCESS, success),
    )


def _value(price_usd: float, waiting_usd: float, throttle: float, success: float) -> float:
    return (price_usd + waiting_usd) * (1 + throttle) / success
