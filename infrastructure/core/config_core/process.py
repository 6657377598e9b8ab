"""A process that follows its configuration while it runs: by the watcher, and by SIGHUP."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from infrastructure.core.config_core.core_config import CoreConfig
from infrastructure.core.config_core.nearby import near_misses
from infrastructure.core.config_core.reporting import Reports
from infrastructure.core.config_core.watcher import Watcher
from infrastructure.core.logger_core.wiring import apply_settings


@contextmanager
def following(config: CoreConfig) -> Iterator[Watcher]:
    """Reload while the block runs; the log follows, and what was built at the start keeps its settings.

    In the main thread SIGHUP reloads from now on; whoever installs a handler of their own calls `on_hangup` after that.
    """
    reloader = config.reloader
    reloader.keep_fixed()
    for variable, near in near_misses(config.settings, reloader.sources):
        Reports(config.service_name).near_miss(variable, near)
    undo = reloader.subscribe(lambda change: apply_settings(change.new))
    with Watcher(reloader) as watcher:
        on_hangup(watcher)
        try:
            yield watcher
        finally:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # one that comes late must not kill a process that is ending
            undo()


def on_hangup(watcher: Watcher) -> None:
    """Let SIGHUP reload. For the main thread."""
    signal.signal(signal.SIGHUP, watcher.ask)
