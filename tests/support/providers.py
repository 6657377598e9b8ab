"""Settings of providers that are instances of one sandbox, and calls to make of them."""

from __future__ import annotations

import time
from typing import Any

from pydantic import SecretStr

from infrastructure.core.config_core import Provider, ProviderKind, Settings
from infrastructure.core.config_core.settings import Price
from tests.support.sandbox import SandboxProcess
from workers.providers.litellm_manager import Call

PRICE = Price(input=1.0, output=2.0)


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
    """Return settings in which the model `m` is `sandbox-small` at each of these accounts, in order."""
    return Settings(
        providers=accounts,
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
