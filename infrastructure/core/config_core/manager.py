"""The configurations of a process by service: found by name, reloaded, watched."""

from __future__ import annotations

import threading
from typing import Any

from infrastructure.core.config_core.core_config import CoreConfig
from infrastructure.core.config_core.reloader import Subscriber, Undo
from infrastructure.core.config_core.sources import SERVICE, Sources
from infrastructure.core.config_core.watcher import Watcher


class Registry:
    """One CoreConfig for each service."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._configs: dict[str, CoreConfig] = {}

    def get(self, service: str, *, sources: Sources | None = None) -> CoreConfig:
        """Return the service's configuration; the first call makes it, from `sources`, and reads nothing yet."""
        with self._lock:
            if service not in self._configs:
                self._configs[service] = CoreConfig(service, sources=sources)
            return self._configs[service]

    def known(self) -> dict[str, CoreConfig]:
        """Return all that were asked for."""
        with self._lock:
            return dict(self._configs)


_of_process = Registry()
"""The guide's `get_config(service)` and `SharedInfraConfigManager()` mean the same configuration: this process's."""


def get_config(service: str = SERVICE) -> CoreConfig:
    """Return the configuration of a service in this process; it is read when the first value is asked for."""
    return _of_process.get(service)


class SharedInfraConfigManager:
    """Reloads and watches configurations; any number of managers of a process share them.

    Args:
        registry: the process's own unless a test says otherwise.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry or _of_process

    def get_config(self, service: str = SERVICE) -> CoreConfig:
        """Return the configuration of a service."""
        return self._registry.get(service)

    def reload_config(self, service: str = SERVICE) -> bool:
        """Read a service's layers again. True: they are in force. False: they are bad, the old ones stay.

        Takes two readings 20 ms apart and blocks for as long: on an event loop, call it in a thread.
        """
        return self._registry.get(service).reloader.reload()

    def subscribe(self, subscriber: Subscriber, *, service: str = SERVICE) -> Undo:
        """Have `subscriber` told of each change of a service's settings, after the swap; returns what ends that."""
        return self._registry.get(service).reloader.subscribe(subscriber)

    def watch(self, service: str = SERVICE) -> Watcher:
        """Return a watcher of the service's folder and secrets, not yet started: a context manager."""
        return Watcher(self._registry.get(service).reloader)

    def get_metrics(self) -> dict[str, Any]:
        """Return what each service's configuration counts, by service; of one that was not read yet, or was never good, its failures."""
        return {service: _metrics(config) for service, config in self._registry.known().items()}


def _metrics(config: CoreConfig) -> dict[str, Any]:
    if not config.reloader.loaded:
        return {"version": None, "reload_failures": config.reloader.counts.failures}
    return config.get_metrics()
