"""The configuration of one service as its users see it: values by dotted key, sections ready to connect with."""

from __future__ import annotations

import copy
from typing import Any

from pydantic import SecretStr

from infrastructure.base.base_config import BaseConfig, Environment
from infrastructure.core.config_core.reloader import Reloader
from infrastructure.core.config_core.settings import Settings
from infrastructure.core.config_core.snapshot import Snapshot
from infrastructure.core.config_core.sources import SERVICE, Sources
from infrastructure.core.config_core.trees import ABSENT, find
from infrastructure.core.error_core import ConfigError


class CoreConfig(BaseConfig):
    """Reads six layers into one frozen value, and replaces it whole.

    Args:
        service_name: its folder below `CONFIG_DIR`, its file, and, in capitals, the prefix of its variables.
        environment: None takes it from `INFRASTRUCTURE_ENV`.
        sources: where the layers are read; the process's own surroundings unless a test says otherwise.

    Nothing is read before the first value is asked for. Each method that reads raises ConfigError when no good
    configuration was ever loaded.
    """

    def __init__(
        self,
        service_name: str = SERVICE,
        environment: Environment | None = None,
        *,
        sources: Sources | None = None,
    ) -> None:
        sources = sources or Sources(service=service_name, environment=environment)
        super().__init__(service_name, sources.which_environment([]))
        self.reloader = Reloader(sources)

    @property
    def snapshot(self) -> Snapshot:
        """Return what is in force now. Take it once for a request or job: the next call may return another."""
        return self.reloader.current

    @property
    def settings(self) -> Settings:
        """Return the settings in force now; see `snapshot`."""
        return self.reloader.current.settings

    def load_config(self) -> dict[str, Any]:
        """Read all layers now, put them in force, and return them as nested tables; overrides of `set` are dropped.

        Raises:
            ConfigError: they are bad; what was in force stays.
        """
        if not self.reloader.reload():
            raise ConfigError(list(self.reloader.counts.problems))
        return copy.deepcopy(self.snapshot.tree)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value under a dotted key (`service.port`), or a whole section; the default where nothing is set.

        A secret is a SecretStr, which prints as stars. Tables and lists are copies.
        """
        found = find(self.snapshot.tree, key)
        if found is ABSENT or found is None:
            return default
        return copy.deepcopy(found) if isinstance(found, (dict, list)) else found

    def set(self, key: str, value: Any) -> None:
        """Override a key in this process until the next reload; a dictionary sets the keys that it holds.

        Raises:
            ConfigError: there is no such key, or it cannot have this value; nothing has changed.
        """
        self.reloader.override(key, value)

    def get_cache_config(self) -> dict[str, Any]:
        """Return the cache's section; `redis_url` is plain text to connect with, the job store's where it has none."""
        settings = self.settings
        section = settings.cache.model_dump(exclude={"redis_url"})
        return {**section, "redis_url": _text(settings.cache.redis_url or settings.redis.url)}

    def get_database_config(self) -> dict[str, Any]:
        """Return where data is kept, as plain text to connect with.

        `url` and `password` are a database's, None without one; `redis_url`, `prefix` and `max_connections` are the job
        store's, which is all that this service itself has.
        """
        database, redis = self.settings.database, self.settings.redis
        return {
            "url": _text(database.url),
            "password": _text(database.password),
            "redis_url": _text(redis.url),
            "prefix": redis.prefix,
            "max_connections": redis.max_connections,
        }

    def get_service_endpoints(self) -> dict[str, str]:
        """Return the other services' URLs by name."""
        return dict(self.settings.services)

    def get_metrics(self) -> dict[str, Any]:
        """Return the version in force, load times in milliseconds, sources, reloads, failures; no values."""
        reloader = self.reloader
        return reloader.counts.described(
            self.snapshot, overrides=reloader.overrides, held=reloader.held, watched=reloader.watched
        )


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
