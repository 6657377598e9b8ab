"""The one configuration that is in force: loaded, replaced whole, or kept when its successor is bad.

Readers take `current`, one reference, and never wait. Whoever changes it, a reload or an override, does so one at a time:
read all, merge, validate, dry-build, swap, tell the subscribers, retire the old when its work ends. A failure of any of
the first four leaves everything as it was, and is counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from infrastructure.core.config_core.build import Loaded, fingerprint
from infrastructure.core.config_core.faults import Fault
from infrastructure.core.config_core.fixed import changed_keys, keeping
from infrastructure.core.config_core.metrics import Counts
from infrastructure.core.config_core.overriding import added_by, overridden
from infrastructure.core.config_core.reporting import Reports
from infrastructure.core.config_core.settings import Settings
from infrastructure.core.config_core.snapshot import Holdings, Snapshot
from infrastructure.core.config_core.sources import Sources
from infrastructure.core.config_core.steady import load_steadily
from infrastructure.core.error_core import ConfigError


@dataclass(frozen=True, slots=True)
class Change:
    """What a subscriber is told after a swap: the settings before and now, and the dotted keys that differ."""

    service: str
    old: Settings
    new: Settings
    keys: tuple[str, ...]


Subscriber = Callable[[Change], None]
Check = Callable[[Settings], object]
Refusal = Callable[[Sequence[str]], None]
Undo = Callable[[], None]


class Reloader:
    """One service's configuration in this process. Safe from any thread; subscribers are called in the reloading one."""

    def __init__(self, sources: Sources, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.sources = sources
        self.counts = Counts()
        self.watched = False
        self._now = now
        self._changing = threading.RLock()
        self._current: Snapshot | None = None
        self._overrides: dict[str, Any] = {}
        self._running: Settings | None = None
        self._subscribers: list[Subscriber] = []
        self._checks: list[Check] = []
        self._retired: list[Callable[[Settings], None]] = []
        self._refusals: list[Refusal] = []
        self._holdings = Holdings(self._retire)
        self._reports = Reports(sources.service)

    @property
    def current(self) -> Snapshot:
        """Return what is in force; the first call loads it.

        Raises:
            ConfigError: there is none yet, and what the layers say is bad.
        """
        if self._current is None:
            with self._changing:
                if self._current is None:
                    self._current = self._candidate(lambda: load_steadily(self.sources))
        return self._current

    @property
    def loaded(self) -> bool:
        """Say whether a good configuration was ever loaded; nothing is read for the answer."""
        return self._current is not None

    @property
    def overrides(self) -> tuple[str, ...]:
        """Return the keys that `override` has set since the last reload."""
        return tuple(self._overrides)

    def hold(self) -> AbstractContextManager[Snapshot]:
        """Take the current snapshot for a piece of work: it is not retired before the block ends."""
        return self._holdings.hold(lambda: self.current)

    @property
    def held(self) -> int:
        """Return how many snapshots have work that has not ended."""
        return len(self._holdings)

    def keep_fixed(self) -> None:
        """From now on keep the settings that take effect at a start only: something was built from them."""
        self._running = self.current.settings

    def subscribe(self, subscriber: Subscriber) -> Undo:
        """Have `subscriber` told of each change, after it; one that fails is counted and hurts nobody. Returns its end."""
        return _added(self._subscribers, subscriber)

    def add_check(self, check: Check) -> Undo:
        """Let `check` build from a candidate what the process would build, on trial, and raise where that fails."""
        return _added(self._checks, check)

    def on_retired(self, retired: Callable[[Settings], None]) -> Undo:
        """Have `retired` told of settings that were replaced, once nobody works under them any more."""
        return _added(self._retired, retired)

    def on_refused(self, refused: Refusal) -> Undo:
        """Have `refused` told of each reload that was refused, with every fault."""
        return _added(self._refusals, refused)

    def reload(self) -> bool:
        """Read everything again, overrides dropped. True: what the layers say is in force; False: it is bad, the old stays."""
        with self._changing:
            self.counts.reloads += 1
            before = self._current.loaded.files if self._current else None
            try:
                self._put(self._candidate(lambda: load_steadily(self.sources, before=before)), {})
            except ConfigError as exc:
                self._refuse(exc.problems)
                return False
            return True

    def override(self, key: str, value: Any) -> None:
        """Put a value above all layers until the next reload; a dictionary sets the keys that it holds.

        Raises:
            ConfigError: there is no such key, or it cannot have this value.
        """
        with self._changing:
            current, replaced = self.current, self._overrides
            overrides = {**replaced, **added_by(key, value, current.tree)}
            self._put(self._candidate(lambda: overridden(current, replaced, overrides)), overrides)

    def _candidate(self, load: Callable[[], Loaded]) -> Snapshot:
        """Load, pin what is fixed, and build on trial.

        Raises:
            ConfigError: it is bad.
        """
        began = time.perf_counter()
        loaded = load()
        settings = loaded.settings
        waiting: tuple[str, ...] = ()
        if self._running is not None:
            settings, waiting = keeping(self._running, settings)
            settings = settings.model_copy(update={"version": fingerprint(settings)})
        self._dry_build(settings)
        took_ms = (time.perf_counter() - began) * 1000
        self.counts.loaded(took_ms)
        return Snapshot(loaded, settings, self._now(), took_ms, waiting)

    def _dry_build(self, settings: Settings) -> None:
        for check in tuple(self._checks):
            try:
                check(settings)
            except ConfigError:
                raise
            except Exception as exc:
                name = getattr(check, "__qualname__", "check")
                raise ConfigError(
                    [Fault(f"could not be built from: {type(exc).__name__}", layer=name, code="not_built")]
                ) from exc

    def _put(self, candidate: Snapshot, overrides: dict[str, Any]) -> None:
        """Make the candidate the current snapshot, then tell of it."""
        old, self._overrides = self._current, overrides

        def swap() -> None:
            self._current = candidate

        if old is None:
            swap()
            return
        keys = tuple(key for key in changed_keys(old.settings, candidate.settings) if key != "version")
        if not keys:
            self.counts.unchanged += 1
        self._holdings.replace(old, swap)
        if candidate.waiting_for_restart != old.waiting_for_restart:
            self._reports.waits(candidate.waiting_for_restart)
        if keys:
            self._reports.changed(old, candidate, keys)
            self._tell(Change(self.sources.service, old.settings, candidate.settings, keys))

    def _refuse(self, problems: Sequence[str]) -> None:
        self.counts.failed(problems, at=self._now())
        self._reports.refused(problems)
        for refused in tuple(self._refusals):
            self._safely(lambda refused=refused: refused(problems))  # type: ignore[misc]

    def _tell(self, change: Change) -> None:
        for subscriber in tuple(self._subscribers):
            self._safely(lambda subscriber=subscriber: subscriber(change))  # type: ignore[misc]

    def _retire(self, settings: Settings) -> None:
        self._reports.retired(settings.version)
        for retired in tuple(self._retired):
            self._safely(lambda retired=retired: retired(settings))  # type: ignore[misc]

    def _safely(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as exc:  # noqa: BLE001  whatever a subscriber raises, the configuration is in force
            self.counts.subscriber_failures += 1
            self._reports.subscriber_failed(exc)


def _added(members: list[Any], member: Any) -> Undo:
    members.append(member)

    def remove() -> None:
        if member in members:
            members.remove(member)

    return remove
