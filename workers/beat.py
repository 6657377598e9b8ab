"""The scheduler, which keeps quiet while nobody listens."""

from __future__ import annotations

from typing import Any

from celery.beat import ScheduleEntry
from celery.beat import Scheduler as StockScheduler
from kombu import Connection

from infrastructure.core.life.signs import Signs
from infrastructure.core.logger_core import get_logger
from workers import queues

MOST_UNHEARD = 100
_RETRY_FIRST_S: Any = 0.2  # Any: kombu's stub takes whole seconds only
_RETRY_STEP_S: Any = 0.3
_RETRY_MOST_S: Any = 2.0
log = get_logger("worker", "beat")


class Scheduler(StockScheduler):
    """Chosen with `beat_scheduler="workers.beat:Scheduler"`. Keeps no file: its entries are all intervals."""

    _quiet = False
    _troubled = False

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """Publish what is due, and show that the process lives."""
        if (signs := self._signs()) is not None:
            signs.show()
        return super().tick(*args, **kwargs)

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Publish an entry, unless a hundred messages wait unheard: a day without upkeep would leave a hundred thousand."""
        waiting = self._waiting()
        if waiting >= MOST_UNHEARD:
            if not self._quiet:
                log.warning("Nobody does upkeep, not calling for it", context={"waiting": waiting})
            self._quiet = True
            self._tell(())
            return
        self._quiet = False
        self._publish(entry, producer)

    def _publish(self, entry: ScheduleEntry, producer: Any) -> None:
        """Publish; say once that it cannot be done, where Celery writes a line with a stack for each entry."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except Exception as exc:  # noqa: BLE001  the schedule goes on, and upkeep does what is urgent by itself
            if not self._troubled:
                log.warning("Cannot call for upkeep, which does what is urgent by itself", exc=exc)
            self._troubled = True
            self._tell(("broker",))
        else:
            if self._troubled:
                log.info("Calls for upkeep again")
            self._troubled = False
            self._tell(())

    def _waiting(self) -> int:
        """Return how many messages wait; 0 where the broker does not tell, and then publishing says what is wrong."""
        try:
            with self.app.connection_or_acquire() as connection:
                channel: Any = connection.default_channel
                return int(channel.client.llen(queues.UPKEEP))
        except Exception:  # noqa: BLE001  kombu lets through whatever the transport raises
            self._tell(("broker",))
            return 0

    def _ensure_connected(self) -> Connection:
        """Connect, trying again at most 2 s apart, where Celery lets 30 s pass, and showing life meanwhile."""
        connection: Connection = self.connection
        connection.ensure_connection(
            self._say_waiting,
            None,  # type: ignore[arg-type]  # kombu's stub leaves out its own default
            interval_start=_RETRY_FIRST_S,
            interval_step=_RETRY_STEP_S,
            interval_max=_RETRY_MOST_S,
            callback=self._while_waiting,
        )
        return connection

    def _say_waiting(self, exc: BaseException, interval_s: float) -> None:
        log.warning("Waiting for the broker", context={"error_type": type(exc).__name__, "again_in_s": interval_s})

    def _while_waiting(self) -> None:
        self._tell(("broker",))
        if (signs := self._signs()) is not None:
            signs.show()

    def _tell(self, missing: tuple[str, ...]) -> None:
        if (signs := self._signs()) is not None:
            signs.tell(missing)

    def _signs(self) -> Signs | None:
        return getattr(self.app, "signs", None)
