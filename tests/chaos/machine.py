"""The job store against a model: 1,000 runs of 50 random steps, and no broken invariant."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.chaos.rows import Row, at_least, counted, exactly, scaled
from tests.support.redis_server import RedisServer
from tests.support.store_machine import StoreMachine

RUNS, STEPS = 1_000, 50
MOST_ROUNDS = 10
FIRST_SEED = 20_260_101
LIMIT_S = 1_800.0


def run(scale: float) -> Sequence[Row]:
    """Take random steps over the real store, and judge each by a model and by an audit of every key.

    hypothesis cuts many runs short, so rounds go on until there were enough of full length. A broken invariant is told with
    the shortest steps that lead to it.
    """
    runs, done = scaled(RUNS, scale, least=10), StoreMachine.counted
    server = RedisServer().start()
    StoreMachine.url = server.url
    done.clear()
    try:
        broken = 0
        for number in range(MOST_ROUNDS):
            if broken or done[f"runs of {STEPS} steps"] >= runs:
                break
            broken = _round(number, runs)
    finally:
        server.remove()
    return [
        exactly("broken invariants", broken, 0),
        at_least(f"runs of {STEPS} steps", done[f"runs of {STEPS} steps"], runs),
        at_least("steps, each audited, shorter runs included", done["steps"], runs * STEPS),
        *(counted(what, done[what]) for what in ("jobs", "claims", "ends", "rescued", "poisoned", "retries")),
    ]


def _round(number: int, runs: int) -> int:
    """Make so many runs; return 1 when a step did not do what the model says, else 0."""
    try:
        run_state_machine_as_test(seed(FIRST_SEED + number)(StoreMachine), settings=_settings(runs))
    except Exception as exc:  # noqa: BLE001  whatever it is: it is told
        print("\n".join([*getattr(exc, "__notes__", ()), f"{type(exc).__name__}: {exc}"]), flush=True)
        return 1
    return 0


def _settings(runs: int) -> settings:
    return settings(
        max_examples=runs,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
