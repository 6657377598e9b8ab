"""Accounts made from the configuration: kept while it stays the same, closed when it is retired and nobody uses them."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import psutil
import pytest

from infrastructure.core.config_core import ProviderKind, Settings
from tests.support.providers import account, call, settings_of
from tests.support.sandbox import SandboxProcess
from tests.support.waiting import eventually
from workers.providers.accounts import accounts
from workers.providers.litellm_manager import LiteLLMManager

pytestmark = pytest.mark.anyio


class Library:
    """Opens clients that only know whether they are closed."""

    def open_http(self) -> Any:
        return Http()


class Http:
    closed = False

    async def close(self) -> None:
        self.closed = True


async def test_each_kind_of_provider_has_a_builder_with_its_usual_address() -> None:
    from infrastructure.core.config_core import Provider

    made = accounts(Library())  # type: ignore[arg-type]
    wanted = {kind.value: Provider(kind=kind) for kind in ProviderKind}
    async with made.using("v1", wanted) as mine:
        endpoints = {name: one.endpoint("m") for name, one in mine.items()}
        assert endpoints["openai"].base_url == "https://api.openai.com/v1"
        assert endpoints["google"].api_key == "none"
        assert all(one.base_url.startswith("https://") for one in endpoints.values())
        clients = [one.http for one in endpoints.values()]
        assert len({id(one) for one in clients}) == len(ProviderKind)
    await made.close()
    assert all(one.closed for one in clients)


async def test_a_changed_account_gets_new_connections_and_the_old_ones_close_when_their_calls_end(
    sandbox: SandboxProcess,
) -> None:
    current: list[Settings] = [settings_of(only=account(sandbox, "old")).model_copy(update={"version": "v1"})]
    manager = LiteLLMManager(lambda: current[0])
    await manager.start()
    sandbox.set_faults({"match": {"instance": "old"}, "action": {"latency_s": 1}})
    slow = asyncio.create_task(manager.completion(call()))
    await eventually(lambda: asyncio.to_thread(lambda: sandbox.counters()["in_flight"] == 1))
    current[0] = settings_of(only=account(sandbox, "new")).model_copy(update={"version": "v2"})

    assert (await manager.completion(call())).provider == "only"
    assert not slow.done()
    assert _connections(sandbox.port) == 2
    await slow
    await eventually(lambda: _connections(sandbox.port) == 1, what="the old account's connection is closed")
    assert sandbox.counters()["by_instance"] == {"old": 1, "new": 1}
    await manager.close()


def _connections(port: int) -> int:
    found = psutil.Process(os.getpid()).net_connections("tcp")
    return sum(1 for one in found if one.raddr and one.raddr.port == port and one.status == "ESTABLISHED")
