"""A supervised process that is frozen shows no life any more, and is ended and started again; one that always hangs is given up."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from api.cli.child import Child, Spec
from api.cli.supervisor import Supervisor
from infrastructure.core.config_core import child_environment
from infrastructure.core.life.place import signs_folder
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
HUNG_S = 3.0
LIVING = """
import time
from infrastructure.core.life.signs import Signs
signs = Signs(kind='hungtest', service_id='1', hung_s=60)
while True:
    signs.show()
    time.sleep(0.2)
"""
HANGING = LIVING.replace("while True:", "if True:").replace("time.sleep(0.2)", "time.sleep(60)")


def spec(script: str) -> Spec:
    return Spec(name="worker", command=(sys.executable, "-c", script), life="hungtest")


async def test_one_that_is_frozen_is_ended_by_force_and_started_again() -> None:
    said: list[str] = []
    async with Supervisor(
        environment=child_environment({}), say=lambda _, line: said.append(line), hung_s=HUNG_S, pause_s=0.1
    ) as supervisor:
        child = await supervisor.run(spec(LIVING))
        first = child.pid
        sign = signs_folder() / f"hungtest-{first}.json"
        await eventually(sign.exists, within_s=20, what="the first sign of life")
        os.kill(first, signal.SIGSTOP)

        await eventually(lambda: lives_anew(child, first), within_s=20, what="it is started again")

    assert said[0] == "no sign of life for 3 s: it hangs, ending it by force"
    assert said[1].startswith("was ended by SIGKILL; starting again")
    assert not await asyncio.to_thread(Path(f"/proc/{first}").exists)


def lives_anew(child: Child, first: int) -> bool:
    return child.lives and child.pid != first


async def test_one_that_hangs_again_and_again_is_given_up() -> None:
    async with Supervisor(
        environment=child_environment({}), say=lambda *_: None, hung_s=1, pause_s=0.05, fast_s=0
    ) as supervisor:
        await supervisor.run(spec(HANGING))
        verdict = await eventually(
            lambda: supervisor.verdict.done() and supervisor.verdict.result(), within_s=40, what="it is given up"
        )
    assert (verdict.status, "5 times in a row" in verdict.message) == (1, True)
