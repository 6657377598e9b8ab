"""The configuration that a job runs under: at least as new as the one it was submitted under, and one from start to end.

A version is a hash, and hashes know no order: of a version that this process does not have it cannot be told whether it
is newer. So a worker that meets one reads its files once for it. What it has then is what its files say now, which the
front door read before the job came; it runs the job under that and records it. (Two hosts whose files or variables differ
for good never agree: each such version costs one reading, and no job waits for the other host's files.)
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from infrastructure.core.config_core import CoreConfig

REMEMBERED = 256


class Versions:
    """Brings the configuration up to date with a job's. Used on one event loop."""

    def __init__(self, config: CoreConfig) -> None:
        self._config = config
        self._read_for: OrderedDict[str, None] = OrderedDict()
        self._reading = asyncio.Lock()

    async def catch_up(self, version: str) -> None:
        """Reload once for a version that this process does not have; a bad configuration leaves the old in force."""
        if self._knows(version):
            return
        async with self._reading:
            if self._knows(version):  # another job of that version has just brought it
                return
            await asyncio.to_thread(self._config.reloader.reload)
            self._read_for[version] = None
            if len(self._read_for) > REMEMBERED:
                self._read_for.popitem(last=False)

    def _knows(self, version: str) -> bool:
        return not version or version == self._config.snapshot.version or version in self._read_for
