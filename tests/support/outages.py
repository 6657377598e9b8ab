"""The outages of a preferred provider that the service must get over, each with what it may cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.wall import Given, Wall

CALLS = "/v1/[cm][he]*"  # chat/completions and messages, and not the list of models
PAUSE_S = 0.3


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How long and how hard: calm, outage, and the time after it, in seconds."""

    rate: float = 10
    calm_s: float = 20
    out_s: float = 60
    after_s: float = 25
    workers: int = 4


@dataclass(frozen=True, kw_only=True)
class Outage:
    """What happens to a preferred provider, and what that may cost.

    `rules` bend its calls, the first that hits; `profile` (made of the outage's length) changes its instance. `added_s`
    bounds the 95th percentile of what was submitted during the outage, above that of the same load without it. `same_tier`
    puts all providers into one tier, in which the first is the cheapest and fastest. `share` is the most of the traffic
    that the provider may have `share_after_s` after the beginning.
    """

    name: str
    promise: str
    rules: tuple[dict[str, Any], ...] = ()
    profile: Callable[[float], dict[str, Any]] | None = None
    models_too: bool = True
    unseen: bool = False
    """What does not reach the sandbox is counted by the attempts that the jobs tell of."""
    calls: int | None = 20
    added_s: float | None = 1.0
    back_s: float | None = 15.0
    same_tier: bool = False
    share: float | None = None
    share_after_s: float = 30.0


def _faulty(name: str, promise: str, action: dict[str, Any], **more: Any) -> Outage:
    return Outage(name=name, promise=promise, rules=({"action": action},), **more)


_LIST = (
    Outage(name="refused", promise="outage: connections refused", unseen=True, profile=lambda _: {"port": "closed"}),
    _faulty("errors", "outage: 503 to all", {"status": 503}),
    _faulty("reset", "TCP reset", {"reset": True}),
    Outage(
        name="storm",
        promise="429 storm, calls before Retry-After",
        profile=lambda out_s: {"limits": {"storm_s": out_s, "retry_after": "date"}},
    ),
    _faulty("empty", "200 with empty choices", {"lie": "no-choices"}, models_too=False),
    _faulty("hang", "a hang, provider timeout 5 s", {"hang": True}, calls=80, added_s=6.0),
    Outage(
        name="degraded",
        promise="30 % errors and latency x 10",
        rules=({"probability": 0.3, "action": {"status": 500}}, {"action": {"latency_s": 10 * PAUSE_S}}),
        models_too=False,
        calls=None,
        added_s=None,
        back_s=None,
        same_tier=True,
        share=0.2,
    ),
)
OUTAGES = {one.name: one for one in _LIST}
ALL = Outage(name="all", promise="all providers down", unseen=True, profile=lambda _: {"port": "closed"})


@dataclass(frozen=True, kw_only=True)
class Case:
    """An outage, and the three providers and the model of its own that it happens to."""

    outage: Outage
    model: str
    providers: tuple[Given, ...]

    @property
    def first(self) -> str:
        """Return the name of the provider that has the outage."""
        return self.providers[0].name


def case_of(outage: Outage, *, timeout_s: float = 5.0, latency_s: float = PAUSE_S, prefix: str = "p") -> Case:
    """Return an outage with three providers of one speed, the first preferred: by its tier, or by its price and speed."""
    same = outage.same_tier
    quick = {"latency_s": latency_s, "jitter_s": latency_s / 3}
    slower = {"latency_s": 1.5 * latency_s, "jitter_s": latency_s / 3} if same else quick
    price, tier = ((3.0, 6.0), 1) if same else ((1.0, 2.0), 2)
    first = Given(name=f"{prefix}1", profile=quick, timeout_s=timeout_s)
    others = (
        Given(name=f"{prefix}2", wire="anthropic", priority=tier, profile=slower, price=price, timeout_s=timeout_s),
        Given(name=f"{prefix}3", priority=tier, profile=slower, price=price, timeout_s=timeout_s),
    )
    return Case(outage=outage, model=f"model-{outage.name}", providers=(first, *others))


def wall_of(*cases: Case, **settings: Any) -> Wall:
    """Return a wall with the providers of all cases; each case's model has its own three as candidates.

    Its front door refuses no job for a line that is slow: what is watched is what becomes of jobs, however short their time.
    """
    models = {case.model: [one.target for one in case.providers] for case in cases}
    found = {"models": models, "limits": {"queue_age_s": None}, **settings}
    return Wall(providers=[one for case in cases for one in case.providers], settings=found)
