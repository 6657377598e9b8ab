"""The configuration's life in a process of the fleet: tried before it holds, told when it does and when it was refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from infrastructure.core.config_core import Change, CoreConfig
from workers.jobs import topics
from workers.jobs.routing import resolve_all

Publish = Callable[[str, dict[str, Any]], object]


@contextmanager
def announced(config: CoreConfig | None, publish: Publish) -> Iterator[None]:
    """While the block runs, route every model on trial before a change, and publish each change and each refusal.

    `publish` is called on the loop that runs now. None: the configuration never changes.
    """
    if config is None:
        yield
        return
    loop = asyncio.get_running_loop()

    def changed(change: Change) -> None:
        loop.call_soon_threadsafe(publish, topics.CONFIGURATION_CHANGED, {"version": change.new.version})

    def refused(problems: Sequence[str]) -> None:
        loop.call_soon_threadsafe(publish, topics.CONFIGURATION_REFUSED, {"problems": len(problems)})

    reloader = config.reloader
    undo = (reloader.add_check(resolve_all), reloader.subscribe(changed), reloader.on_refused(refused))
    try:
        yield
    finally:
        for end in undo:
            end()
