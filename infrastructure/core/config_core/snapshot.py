"""One configuration as it was loaded, and who still works under it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from infrastructure.core.config_core.build import Loaded
from infrastructure.core.config_core.settings import Settings
from infrastructure.core.config_core.trees import tree_of


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A configuration that is, or was, in force. Immutable: whoever took it never sees another."""

    loaded: Loaded
    settings: Settings
    loaded_at: datetime
    load_ms: float
    waiting_for_restart: tuple[str, ...] = ()
    """Keys whose files say something else than what this process was started with."""

    @property
    def version(self) -> str:
        """Return the hash of every value."""
        return self.settings.version

    @cached_property
    def tree(self) -> dict[str, Any]:
        """Return the values as nested tables, as the files nest them."""
        return tree_of(self.settings)


Retired = Callable[[Settings], None]


class Holdings:
    """Counts who works under which snapshot; one that was replaced is retired when its last holder leaves."""

    def __init__(self, retired: Retired) -> None:
        self._lock = threading.Lock()
        self._held: dict[Snapshot, int] = {}
        self._replaced: set[Snapshot] = set()
        self._retired = retired

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def hold(self, current: Callable[[], Snapshot]) -> Iterator[Snapshot]:
        """Take the current snapshot, and keep it from being retired until the block ends."""
        current()  # the first one loads, and must not do so under the lock: who loads may be waiting for it
        with self._lock:
            snapshot = current()
            self._held[snapshot] = self._held.get(snapshot, 0) + 1
        try:
            yield snapshot
        finally:
            if self._let_go(snapshot):
                self._retired(snapshot.settings)

    def replace(self, snapshot: Snapshot, swap: Callable[[], None]) -> None:
        """Let `swap` put another in the place of a snapshot, and retire this one now or when its work ends."""
        with self._lock:
            swap()
            if busy := snapshot in self._held:
                self._replaced.add(snapshot)
        if not busy:
            self._retired(snapshot.settings)

    def _let_go(self, snapshot: Snapshot) -> bool:
        with self._lock:
            self._held[snapshot] -= 1
            if self._held[snapshot]:
                return False
            del self._held[snapshot]
            if snapshot not in self._replaced:
                return False
            self._replaced.discard(snapshot)
            return True
