"""Settings of providers that are instances of one sandbox, and calls to make of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Protocol

import pytest
from pydantic import SecretStr

from infrastructure.core.config_core import Provider, ProviderKind, Settings
from infrastructure.core.config_core.settings import Price
from tests.support.sandbox import SandboxProcess
from workers.jobs.gate.local_gate import LocalGate
from workers.jobs.gate.models import Admission, Begin, End, TargetState
from workers.providers.litellm_manager import Answer, Call, LiteLLMManager

PRICE = Price(input=1.0, output=2.0)


class StartManager(Protocol):
    """Starts a manager; `parts` are those of LiteLLMManager."""

    def __call__(self, settings: Settings, **parts: Any) -> Awaitable[LiteLLMManager]:
        """Return it started."""


class OverheardGate(LocalGate):
    """A gate of one process that remembers what it was told of calls."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[Begin] = []
        self.ended: list[End] = []

    async def begin(self, asked: Begin) -> Admission:
        """Decide."""
        admission = await super().begin(asked)
        if admission.admitted:
            self.begun.append(asked)
        return admission

    async def end(self, ended: End) -> TargetState:
        """Learn."""
        self.ended.append(ended)
        return await super().end(ended)

    def left_open(self) -> set[str]:
        """Return the attempts that were let through and never ended."""
        return {one.attempt for one in self.begun} - {one.attempt for one in self.ended if one.final}


@pytest.fixture
async def start_manager() -> AsyncIterator[StartManager]:
    """Return a way to start managers; they are closed at the end. The first of a process imports LiteLLM."""
    managers: list[LiteLLMManager] = []

    async def started(settings: Settings, **parts: Any) -> LiteLLMManager:
        managers.append(LiteLLMManager(lambda: settings, **parts))
        await managers[-1].start()
        return managers[-1]

    yield started
    for manager in managers:
        await manager.close()


def account(sandbox: SandboxProcess, name: str, *, kind: str = "openai", **fields: Any) -> Provider:
    """Return an account at the sandbox's instance `name`, which counts and fails by itself."""
    base = sandbox.for_instance(name)
    defaults = {
        "kind": ProviderKind(kind),
        "api_key": SecretStr(f"sandbox-key-of-{name}"),
        "base_url": f"{base}/v1" if kind == "openai" else base,
        "prices": {"sandbox-small": PRICE},
    }
    return Provider.model_validate({**defaults, **fields})


def settings_of(**accounts: Provider) -> Settings:
    """Return settings in which the model `m` is `sandbox-small` at each of these accounts, asked in this order."""
    return Settings(
        providers={
            name: one.model_copy(update={"priority": place}) for place, (name, one) in enumerate(accounts.items(), 1)
        },
        enabled=tuple(accounts),
        models={"m": tuple(f"{name}/sandbox-small" for name in accounts)},
    )


def call(prompt: str = "What is a harbour?", *, within_s: float = 20, model: str = "m", **params: Any) -> Call:
    """Return a call with one user message."""
    messages = [{"role": "user", "content": prompt}]
    return Call(
        model=model,
        params={"messages": messages, **params},
        deadline=time.monotonic() + within_s,
        job_id="job_test",
        tenant="default",
    )


def requests(sandbox: SandboxProcess, name: str) -> int:
    """Return how many requests reached the provider `name`."""
    count: int = sandbox.counters()["by_instance"].get(name, 0)
    return count


def text_of(answer: Answer) -> str:
    """Return what the answer's first choice says."""
    text: str = answer.result["choices"][0]["message"]["content"]
    return text
