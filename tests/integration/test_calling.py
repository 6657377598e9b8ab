"""The call of a claimed job ends with its deadline, whatever it has to wait for before a provider is called."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis.asyncio as aioredis

from infrastructure.core.error_core import ErrorHandler
from infrastructure.core.logger_core import get_logger
from infrastructure.core.performance_core import get_performance_tracker
from infrastructure.optional.container_core import Registry
from tests.support.jobs import must_claim, shared_store, submitted
from workers.jobs.models import Status
from workers.providers.litellm_manager import LiteLLMManager
from workers.runtime.calling import Caller
from workers.runtime.running import Ended, Running
from workers.runtime.versions import Versions

pytestmark = pytest.mark.anyio


class SlowVersions(Versions):
    """A configuration that takes for ever to be read again, as from a disk that hangs."""

    def __init__(self) -> None:
        pass

    async def catch_up(self, version: str) -> None:  # noqa: ARG002
        await asyncio.Event().wait()


async def test_a_job_does_not_wait_past_its_deadline_for_what_comes_before_the_call(
    redis_url: str, redis: aioredis.Redis
) -> None:
    async with shared_store(redis_url) as store:
        await submitted(store, deadline_ms=700)
        job = await must_claim(store)
        began = time.monotonic()
        end = await asyncio.wait_for(_caller().call(Running(job)), 5)
    assert time.monotonic() - began < 1.5
    assert isinstance(end, Ended)
    assert end.outcome.status is Status.EXPIRED


def _caller() -> Caller:
    log: Any = get_logger("ai-provider", "test")

    async def nobody(_: Any) -> None:
        raise AssertionError

    return Caller(
        LiteLLMManager.__new__(LiteLLMManager), parts=Registry(log=log), versions=SlowVersions(), cancel=nobody,
        hand_back=nobody, tracker=get_performance_tracker("test"), errors=ErrorHandler(log), log=log,
    )  # fmt: skip
