"""A provider asked for its list of models, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.ports import free_port
from tests.support.providers import account
from tests.support.sandbox import SandboxProcess
from workers.providers.health.reach import Reacher

pytestmark = pytest.mark.anyio
LIST = {"path": "/v1/models"}


@pytest.fixture
async def reacher() -> AsyncIterator[Reacher]:
    made = Reacher()
    yield made
    await made.close()


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_provider_that_lists_its_models_is_reachable(
    sandbox: SandboxProcess, reacher: Reacher, kind: str
) -> None:
    reach = await reacher.ask(account(sandbox, "alive", kind=kind), timeout_s=5)
    assert (reach.reachable, reach.refused, reach.reason) == (True, False, "")
    assert sandbox.counters()["by_path"] == {"/v1/models": 1}


@pytest.mark.parametrize(
    ("action", "found"),
    [
        ({"status": 401}, (True, True, "provider_authentication")),
        ({"status": 403}, (True, False, "")),
        ({"status": 404}, (True, False, "")),
        ({"status": 429}, (True, False, "")),
        ({"status": 500}, (False, False, "provider_unavailable")),
        ({"reset": True}, (False, False, "provider_unavailable")),
        ({"hang": True}, (False, False, "provider_timeout")),
    ],
)
async def test_what_else_it_answers(
    sandbox: SandboxProcess,
    reacher: Reacher,
    action: dict[str, object],
    found: tuple[bool, bool, str],
) -> None:
    sandbox.set_faults({"match": LIST, "action": action})
    reach = await reacher.ask(account(sandbox, "troubled"), timeout_s=0.5)
    assert (reach.reachable, reach.refused, reach.reason) == found


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_server_without_keys_is_asked_as_its_calls_are(
    sandbox: SandboxProcess, reacher: Reacher, kind: str
) -> None:
    reach = await reacher.ask(account(sandbox, "open", kind=kind, api_key=None, needs_key=False), timeout_s=5)
    assert (reach.reachable, reach.refused) == (True, False)


async def test_where_nobody_listens_nobody_is_reached(sandbox: SandboxProcess, reacher: Reacher) -> None:
    provider = account(sandbox, "gone", base_url=f"http://127.0.0.1:{free_port()}/v1")
    reach = await reacher.ask(provider, timeout_s=5)
    assert (reach.reachable, reach.reason) == (False, "provider_unavailable")
