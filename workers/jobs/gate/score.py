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


class Terms(NamedTuple):
    """What a score takes from a candidate's state: worked out once a state, not once a call."""

    seconds: float
    """Until its answer, with nothing in flight."""
    in_flight: int
    load: float
    """What one call in flight adds to the seconds, as a share of them."""
    throttle: float
    success: float
    dearer: float
    """(1 + throttle) / success."""


def terms_of(state: TargetState) -> Terms:
    """Return what a score takes from a state."""
    latency_ms = PRIOR_LATENCY_MS if state.latency_ms is None else state.latency_ms
    load = 1 / (state.concurrency_limit or DEFAULT_CONCURRENCY)
    success = max(LEAST_SUCCESS, state.success)
    return Terms(latency_ms / 1000, state.in_flight, load, state.throttle, success, (1 + state.throttle) / success)


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
    terms = terms_of(state)
    price_usd = PRIOR_PRICE_USD if price_usd is None else price_usd
    waiting_usd = expected_usd(terms, 0.0, own_in_flight, usd_per_second) / terms.dearer
    parts = Parts(price_usd, waiting_usd, terms.throttle, terms.success)
    return Score(expected_usd(terms, price_usd, own_in_flight, usd_per_second), parts)


def expected_usd(terms: Terms, price_usd: float | None, own_in_flight: int, usd_per_second: float) -> float:
    """Return the value of `expected_cost`, for those who order candidates at every call."""
    seconds, in_flight, load, _, _, dearer = terms
    if own_in_flight > in_flight:  # noqa: PLR1730  a call of max() takes as long as all the rest
        in_flight = own_in_flight
    if price_usd is None:
        price_usd = PRIOR_PRICE_USD
    return (price_usd + usd_per_second * seconds * (1 + load * in_flight)) * dearer
