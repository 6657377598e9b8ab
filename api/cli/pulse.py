"""Whether a supervised process still shows that it lives."""

from __future__ import annotations

from pathlib import Path

from infrastructure.core.life.place import signs_folder

LOOK_EVERY_S = 1.0


class Pulse:
    """Looks at the sign of one process, once every `LOOK_EVERY_S` seconds as its supervisor does.

    Looks are counted, not seconds: after a stop of the whole machine every sign is old, and none is meant. A process that has
    no sign (yet) is not judged: it may be starting, or find no place for one.
    """

    def __init__(self, kind: str, pid: int, *, hung_s: float, folder: Path | None = None) -> None:
        self._path = (signs_folder() if folder is None else folder) / f"{kind}-{pid}.json"
        self._most = hung_s / LOOK_EVERY_S
        self._seen: int | None = None
        self._unchanged = 0

    def look(self) -> bool:
        """Look once; say whether the process has shown nothing for too many looks."""
        try:
            touched = self._path.stat().st_mtime_ns
        except OSError:
            self._unchanged = 0
            return False
        self._unchanged = self._unchanged + 1 if touched == self._seen else 0
        self._seen = touched
        return self._unchanged >= self._most
