"""The cache inside the process (L1): W-TinyLFU, bounded in bytes and in entries."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from infrastructure.core.cache_core.names import Name
from infrastructure.core.cache_core.sketch import FrequencySketch

WINDOW = 0.01
PROTECTED = 0.8
LARGEST = 0.25
"""Part of the bytes that one entry may take; a larger one would empty the cache for itself."""
SLOT_BYTES = 330
"""What an entry costs beside its key's text and its payload: the entry, its two instants and its stamp (190), its place in
a segment (up to 140 where the table has just grown). Measured on CPython 3.11; `tests/unit/test_cache_memory.py` compares."""

Segment = OrderedDict[Name, "Entry"]


class Entry:
    """A value in the process's memory. `until` and `written` are instants of the cache's clock (seconds)."""

    __slots__ = ("cost", "payload", "read", "stamp", "until", "written")

    def __init__(self, payload: bytes, *, written: float, until: float, stamp: bytes | None) -> None:
        self.payload = payload
        self.written = written
        self.until = until
        self.stamp = stamp
        self.cost = 0
        self.read = False


@dataclass(slots=True)
class Counts:
    """What happened in L1 since the start."""

    evicted: int = 0
    refused: int = 0
    """Entries that frequency did not admit, or that are too large."""
    expired: int = 0
    expired_unread: int = 0


class Memory:
    """Entries by name, the least useful given up first. Not for use by several threads.

    A new entry enters a small window, ordered by recency. What falls out of the window is admitted to the main part only
    when it was asked for more often than all those together that would have to go for it (so that a large entry needs to
    be worth several small ones: Einziger, Eytan, Friedman, Manes, "Lightweight Robust Size Aware Cache Management", 2022).
    The main part is a segmented LRU: probation, and for what is read there again, protected.
    """

    def __init__(self, *, max_entries: int, max_bytes: int, clock: Callable[[], float]) -> None:
        self._sketch = FrequencySketch(min(max_entries, max_bytes // SLOT_BYTES))  # more have no room anyway
        self.max_entries, self.max_bytes = max_entries, max_bytes
        room = max(0, max_bytes - self._sketch.bytes)
        self._window_room, self._window_entries = int(room * WINDOW), max(1, int(max_entries * WINDOW))
        self._main_room, self._main_entries = room - self._window_room, max_entries - self._window_entries
        self._protected_room = int(self._main_room * PROTECTED)
        self._protected_entries = int(self._main_entries * PROTECTED)
        self._largest = int(room * LARGEST)
        self._clock = clock
        self._window: Segment = OrderedDict()
        self._probation: Segment = OrderedDict()
        self._protected: Segment = OrderedDict()
        self._main_used = self._window_used = self._protected_used = 0
        self.counts = Counts()

    def __len__(self) -> int:
        return len(self._window) + len(self._probation) + len(self._protected)

    @property
    def bytes(self) -> int:
        """Return what the entries and the sketch take, their own overhead counted."""
        return self._main_used + self._window_used + self._sketch.bytes

    def names(self) -> Iterator[Name]:
        """Give the name of every entry; nothing may change meanwhile."""
        return chain(self._window, self._probation, self._protected)

    def get(self, name: Name) -> Entry | None:
        """Return a live entry, and count the request, which also counts for a name that is not here."""
        self._sketch.count(name)
        entry = self._protected.get(name)
        if entry is not None:
            self._protected.move_to_end(name)
        else:
            entry = self._probation.get(name)
            if entry is not None:
                self._promote(name, entry)
            else:
                entry = self._window.get(name)
                if entry is None:
                    return None
                self._window.move_to_end(name)
        if entry.until <= self._clock():
            self._expire(name, entry)
            return None
        entry.read = True
        return entry

    def peek(self, name: Name) -> Entry | None:
        """Return an entry, live or not, as if nobody had asked."""
        return self._protected.get(name) or self._probation.get(name) or self._window.get(name)

    def put(self, name: Name, entry: Entry) -> bool:
        """Keep an entry in place of any other of that name; False when there is no room worth making for it."""
        old = self.drop(name)
        entry.cost = SLOT_BYTES + sys.getsizeof(entry.payload) + sys.getsizeof(name) + sys.getsizeof(name[1])
        if entry.cost > self._largest:
            self.counts.refused += 1
            return False
        if old is not None and self._fits(entry):  # what was in the main part stays there
            self._admit(name, entry)
            return True
        self._window[name] = entry
        self._window_used += entry.cost
        self._settle()
        return name in self._window or name in self._probation

    def drop(self, name: Name) -> Entry | None:
        """Forget an entry and return it."""
        entry = self._window.pop(name, None)
        if entry is not None:
            self._window_used -= entry.cost
            return entry
        entry = self._protected.pop(name, None)
        if entry is not None:
            self._protected_used -= entry.cost
        else:
            entry = self._probation.pop(name, None)
        if entry is not None:
            self._main_used -= entry.cost
        return entry

    def drop_where(self, condition: Callable[[Name], bool]) -> int:
        """Forget every entry whose name meets a condition; return how many."""
        found = [name for name in self.names() if condition(name)]
        for name in found:
            self.drop(name)
        return len(found)

    def clear(self) -> int:
        """Forget every entry; return how many. Frequencies stay known."""
        count = len(self)
        for segment in (self._window, self._probation, self._protected):
            segment.clear()
        self._main_used = self._window_used = self._protected_used = 0
        return count

    def drop_expired(self, names: Iterable[Name]) -> None:
        """Forget those of these names whose time is over."""
        now = self._clock()
        for name in names:
            entry = self.peek(name)
            if entry is not None and entry.until <= now:
                self._expire(name, entry)

    def _expire(self, name: Name, entry: Entry) -> None:
        self.drop(name)
        self.counts.expired += 1
        self.counts.expired_unread += not entry.read

    def _promote(self, name: Name, entry: Entry) -> None:
        del self._probation[name]
        self._protected[name] = entry
        self._protected_used += entry.cost
        while self._protected_used > self._protected_room or len(self._protected) > self._protected_entries:
            demoted, back = self._protected.popitem(last=False)
            self._protected_used -= back.cost
            self._probation[demoted] = back

    def _settle(self) -> None:
        """Bring the window back into its bounds: its oldest go to the main part, or away."""
        while self._window_used > self._window_room or len(self._window) > self._window_entries:
            name, entry = self._window.popitem(last=False)
            self._window_used -= entry.cost
            if self._fits(entry):
                self._admit(name, entry)
            else:
                self._compete(name, entry)

    def _compete(self, name: Name, entry: Entry) -> None:
        """Admit an entry if it is asked for more often than all those together that would have to go."""
        victims = self._victims(entry, worth=self._sketch.estimate(name))
        if victims is None:
            self.counts.refused += 1
            return
        for victim in victims:
            self.drop(victim)
        self.counts.evicted += len(victims)
        self._admit(name, entry)

    def _victims(self, entry: Entry, *, worth: int) -> list[Name] | None:
        """Return who would have to go for an entry, or None where they are worth as much as it is."""
        now, victims, price = self._clock(), [], 0
        too_much, too_many = self._main_used + entry.cost - self._main_room, self._main_len() + 1 - self._main_entries
        for name, victim in chain(self._probation.items(), self._protected.items()):
            if too_much <= 0 and too_many <= 0:
                break
            if victim.until > now:
                price += self._sketch.estimate(name)
                if price >= worth:
                    return None
            victims.append(name)
            too_much, too_many = too_much - victim.cost, too_many - 1
        return victims if too_much <= 0 and too_many <= 0 else None

    def _main_len(self) -> int:
        return len(self._probation) + len(self._protected)

    def _fits(self, entry: Entry) -> bool:
        return self._main_used + entry.cost <= self._main_room and self._main_len() < self._main_entries

    def _admit(self, name: Name, entry: Entry) -> None:
        self._probation[name] = entry
        self._main_used += entry.cost
