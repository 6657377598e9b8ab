"""A worker's first call imports nothing heavy: a new process says what LiteLLM imports in it."""

from __future__ import annotations

import subprocess
import sys

from tests.support.fleet import ROOT
from tests.support.sandbox import SandboxProcess

CALL = """
import asyncio, sys
from infrastructure.core.config_core import ProviderKind
from workers.providers.library import Endpoint, load
library = load(concurrency=10)
async def call():
    endpoint = Endpoint(kind=ProviderKind.OPENAI, model="sandbox-small", api_key="none", base_url=sys.argv[1], http=library.open_http())
    before = set(sys.modules)
    await library.complete(endpoint, {"messages": [{"role": "user", "content": "hello"}]}, timeout_s=10)
    print(*sorted(set(sys.modules) - before))
asyncio.run(call())
"""


def test_the_first_call_of_a_worker_finds_the_heavy_modules_loaded(sandbox: SandboxProcess) -> None:
    command = [sys.executable, "-c", CALL, sandbox.v1]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    late = told.stdout.split()

    assert not [name for name in late if name.startswith(("litellm.proxy", "litellm.types", "tiktoken"))], late
    assert len(late) < 15, late
