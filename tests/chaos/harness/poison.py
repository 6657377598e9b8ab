"""Kills a worker process as soon as it runs a job whose prompt has the poison in it."""

from __future__ import annotations

import os
import signal
from typing import Any

POISON = "this question kills whoever asks it"


def arm() -> None:
    """Wrap the call."""
    from workers.providers.litellm_manager import LiteLLMManager

    original = LiteLLMManager.completion

    async def dying(manager: Any, call: Any) -> Any:
        if POISON in str(call.params.get("messages")):
            os.kill(os.getpid(), signal.SIGKILL)
        return await original(manager, call)

    LiteLLMManager.completion = dying  # type: ignore[assignment, method-assign]
