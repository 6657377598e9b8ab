"""What a process uses: CPU, memory, and its host's network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import psutil

MEGABYTE = 1e6
OVER_S = 60.0
MOST_MARKS = 64


@dataclass(frozen=True, slots=True)
class _Mark:
    """What had been used by a moment; None where the system does not count it."""

    at_s: float
    cpu_s: float
    network: tuple[int, int] | None


class ResourceMeter:
    """Measures this process; rates are over the last minute. A figure that the system does not give is left out.

    `clock` is monotonic, in seconds. The network is the host's: no system counts it by process.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._marks: deque[_Mark] = deque(maxlen=MOST_MARKS)
        self.last: dict[str, float] = {}

    def sample(self) -> None:
        """Measure; costs a fraction of a millisecond and never raises."""
        try:
            used, mark = self._now(), self._mark()
        except (psutil.Error, OSError):
            return
        while len(self._marks) > 1 and self._marks[1].at_s <= mark.at_s - OVER_S:
            self._marks.popleft()
        if self._marks:
            used |= _rates(self._marks[0], mark)
        self._marks.append(mark)
        self.last = used

    def _now(self) -> dict[str, float]:
        process = psutil.Process()
        with process.oneshot():
            memory, threads = process.memory_info().rss, process.num_threads()
        total = psutil.virtual_memory().total
        return {"memory_mb": memory / MEGABYTE, "memory_percent": 100 * memory / total, "threads": float(threads)}

    def _mark(self) -> _Mark:
        times, network = psutil.Process().cpu_times(), psutil.net_io_counters()
        moved = (network.bytes_sent, network.bytes_recv) if network else None
        return _Mark(self._clock(), times.user + times.system, moved)


def _rates(before: _Mark, now: _Mark) -> dict[str, float]:
    elapsed_s = now.at_s - before.at_s
    if elapsed_s <= 0:
        return {}
    rates = {"cpu_percent": 100 * (now.cpu_s - before.cpu_s) / elapsed_s}
    if now.network is not None and before.network is not None:
        rates["network_sent_bytes_per_s"] = max(now.network[0] - before.network[0], 0) / elapsed_s
        rates["network_received_bytes_per_s"] = max(now.network[1] - before.network[1], 0) / elapsed_s
    return rates
