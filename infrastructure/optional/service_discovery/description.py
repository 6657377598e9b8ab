"""What a process of this service says of itself in the directory."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from typing import Any

from infrastructure.core.config_core import Settings


def own_description(settings: Settings, *, kind: str, instance: str, port: int | None = None) -> dict[str, Any]:
    """Return the dictionary that registers this process, as an instance of the service with its kind as a tag.

    `port` is where it listens, None where nobody connects to it (0, any free one, is not known here: None too).
    """
    listening = {"port": port, "health_check": "/health"} if port else {}
    return {
        "id": instance,
        "name": settings.service.name,
        "host": settings.service.host if port else socket.gethostname(),
        **listening,
        "tags": ["ai", "llm", kind],
        "metadata": {
            "kind": kind,
            "version": settings.service.version,
            "config": settings.version,
            "providers": list(settings.in_use()),
            "pid": os.getpid(),
            "started": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        },
    }
