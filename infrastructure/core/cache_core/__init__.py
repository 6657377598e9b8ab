"""A cache in two tiers, memory and Redis, whose changes reach every process."""

from infrastructure.core.cache_core.core_cache import CoreCache

__all__ = ["CoreCache"]
