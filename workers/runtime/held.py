"""The configuration of one job: taken once, held until the job's container is closed."""

from __future__ import annotations

from infrastructure.core.config_core import Snapshot
from infrastructure.core.config_core.reloader import Reloader


class Held:
    """A snapshot that is not retired while the job runs."""

    def __init__(self, reloader: Reloader) -> None:
        self._hold = reloader.hold()
        self.snapshot: Snapshot = self._hold.__enter__()

    def release(self) -> None:
        """Hold it no more."""
        self._hold.__exit__(None, None, None)
