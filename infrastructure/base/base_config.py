"""What a configuration promises, with a twin that knows nothing."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Environment(StrEnum):
    """Where the service runs; chooses the environment file and the sandbox's default."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"
    TEST = "test"


class BaseConfig:
    """The settings of one service by dotted key. Here they are what `set` was told, and nothing else."""

    def __init__(self, service_name: str, environment: Environment) -> None:
        self.service_name = service_name
        self.environment = environment
        self._config_cache: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value under a dotted key (`service.port`), or the whole section (`service`), else the default."""
        node: Any = self._config_cache
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                return default
            node = node[part]
        return node

    def set(self, key: str, value: Any) -> None:
        """Put a value under a dotted key; what stood there or above it as a plain value gives way."""
        node = self._config_cache
        *above, last = key.split(".")
        for part in above:
            child = node.get(part)
            if not isinstance(child, dict):
                child = node[part] = {}
            node = child
        node[last] = value


class NullConfig(BaseConfig):
    """Has no value for any key: every default holds."""

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ARG002  the interface's
        """Return the default."""
        return default

    def set(self, key: str, value: Any) -> None:
        """Forget it."""
