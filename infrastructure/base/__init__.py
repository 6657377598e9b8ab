"""What every service is promised: interfaces with harmless defaults, and twins that do nothing."""

from infrastructure.base.base_cache import BaseCache, NullCache
from infrastructure.base.base_config import BaseConfig, Environment, NullConfig
from infrastructure.base.base_logger import BaseLogger, LogLevel, NullLogger

__all__ = [
    "BaseCache",
    "BaseConfig",
    "BaseLogger",
    "Environment",
    "LogLevel",
    "NullCache",
    "NullConfig",
    "NullLogger",
]
