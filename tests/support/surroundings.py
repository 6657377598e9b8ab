"""An environment without anybody's keys: whatever a shell or CI has for providers is not seen by tests."""

from __future__ import annotations

from collections.abc import MutableMapping

_PREFIXES = ("AI_PROVIDER_", "OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_", "DEEPSEEK_")
_NAMES = {"REDIS_URL", "LOG_LEVEL", "LOG_OUTPUT_DIR", "CONFIG_DIR", "INFRASTRUCTURE_ENV"}
_KEPT = {"AI_PROVIDER_TEST_REDIS_SERVER"}


def without_keys(environment: MutableMapping[str, str]) -> None:
    """Take out what would point a test at a real provider, a real Redis or a configuration; tests never spend money."""
    for name in [one for one in environment if one.startswith(_PREFIXES) or one in _NAMES]:
        if name not in _KEPT:
            del environment[name]
