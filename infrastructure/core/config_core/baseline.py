"""The built-in defaults that have no place in a field: which providers there are, and the logical models.

They are what `config/ai-provider/default.yml` says, so that the service also starts without its folder; a test compares.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

ORIGIN: Final = "built-in"
PROVIDERS: Final = MappingProxyType({
    "openai": ["gpt-*", "chatgpt-*", "o1*", "o3*", "o4*", "ft:*"],
    "anthropic": ["claude-*"],
    "google": ["gemini-*", "gemma-*"],
    "deepseek": ["deepseek-*"],
})  # fmt: skip
MODELS: Final = MappingProxyType({
    "default": ["openai/gpt-5-mini", "anthropic/claude-haiku-4-5", "google/gemini-2.5-flash", "deepseek/deepseek-chat",
                "sandbox/sandbox-small", "sandbox-anthropic/sandbox-claude"],
    "large": ["openai/gpt-5.1", "anthropic/claude-sonnet-4-5", "google/gemini-2.5-pro", "deepseek/deepseek-reasoner",
              "sandbox/sandbox-large", "sandbox-anthropic/sandbox-claude"],
})  # fmt: skip


def baseline() -> dict[str, Any]:
    """Return the lowest layer as a tree."""
    providers: dict[str, Any] = {name: {"kind": name, "models": models} for name, models in PROVIDERS.items()}
    return {"providers": {"enabled": list(PROVIDERS), **providers}, "models": dict(MODELS)}
