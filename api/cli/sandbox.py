"""Why the sandbox answers, for a person."""

from __future__ import annotations

from infrastructure.core.config_core import Settings


def why_sandbox(settings: Settings) -> str:
    """Say why the sandbox takes part: somebody wants it, or no real provider can be called."""
    real = [name for name in settings.in_use() if not name.startswith("sandbox")]
    return f"it is switched on beside {', '.join(real)}" if real else "no provider has a key"
