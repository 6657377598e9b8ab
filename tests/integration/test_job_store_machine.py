"""The job store against a model: random steps, and after each every key must fit every other and no end may change."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.redis_server import RedisServer
from tests.support.store_machine import StoreMachine


def test_random_steps_keep_the_store_sound(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StoreMachine, "url", redis_server.url, raising=False)
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=30, stateful_step_count=30, deadline=None, database=None,
            phases=(Phase.generate,),  # shrinking takes minutes: `tests/chaos/machine.py` does it
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
