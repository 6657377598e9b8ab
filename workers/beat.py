"""The scheduler, which keeps quiet while nobody listens."""

from __future__ import annotations

from typing import Any

from celery.beat import ScheduleEntry
from celery.beat import Scheduler as StockScheduler

from infrastructure.core.logger_core import get_logger
from workers import queues

MOST_UNHEARD = 100
log = get_logger("worker", "beat")


class Scheduler(StockScheduler):
    """Chosen with `beat_scheduler="workers.beat:Scheduler"`. Keeps no file: its entries are all intervals."""

    _quiet = False

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Publish an entry, unless a hundred messages wait unheard: a day without upkeep would leave a hundred thousand."""
        waiting = self._waiting()
        if waiting >= MOST_UNHEARD:
            if not self._quiet:
                log.warning("Nobody does upkeep, not calling for it", context={"waiting": waiting})
            self._quiet = True
            return
        self._quiet = False
        super().apply_entry(entry, producer)

    def _waiting(self) -> int:
        """Return how many messages wait; 0 where the broker does not tell, and then publishing says what is wrong."""
        try:
            with self.app.connection_or_acquire() as connection:
                channel: Any = connection.default_channel
                return int(channel.client.llen(queues.UPKEEP))
        except Exception:  # noqa: BLE001  kombu lets through whatever the transport raises
            return 0
