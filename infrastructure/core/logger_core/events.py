"""The guide's own events and messages, each name once, so that no line of them is spelled in two ways."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from infrastructure.core.logger_core.redis_advice import REDIS_ADVICE, REDIS_UNFIT

AI_COMPLETION_SUCCESS: Final = "ai_completion_success"
PROVIDER_FAILOVER: Final = "provider_failover"
PROVIDER_COMPLETION_FAILED: Final = "Provider completion failed"
CACHE_HIT: Final = "Cache hit for completion request"
PROVIDER_HEALTH_CHECK: Final = "Provider health check completed"
REQUEST: Final = "Request"
NO_LEVEL: Final = (
    "Expected a level to be one of debug, info, warning, error, critical, got another: its lines count as info"
)

EVENT_MESSAGES: Final = MappingProxyType(
    {AI_COMPLETION_SUCCESS: "AI completion successful", PROVIDER_FAILOVER: "Provider failover"}
)
"""What the line of a business event says; the event's name stands in its context."""

KNOWN_MESSAGES: Final = frozenset(
    {
        REQUEST,
        NO_LEVEL,
        PROVIDER_COMPLETION_FAILED,
        CACHE_HIT,
        PROVIDER_HEALTH_CHECK,
        REDIS_UNFIT,
        *REDIS_ADVICE.values(),
        *EVENT_MESSAGES,
        *EVENT_MESSAGES.values(),
    }
)
"""Messages that are told whoever says them; every other one has to stand in the code of who says it."""
