"""Whether a Redis is set up so that the service keeps its promises on it."""

from infrastructure.core.redis_check.checking import check_redis
from infrastructure.core.redis_check.findings import Finding, Role, Status

__all__ = ["Finding", "Role", "Status", "check_redis"]
