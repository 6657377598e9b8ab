"""The Celery consumer that outlives a Redis restart, shows that it is alive, and sends its events in groups."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer as StockConsumer
from celery.worker.state import maybe_shutdown
from kombu import Connection
from redis.exceptions import RedisError

from infrastructure.core.logger_core import get_logger
from workers.pool.hooks import hooks_of
from workers.pool.silence import check_heard

log = get_logger("ai-provider", "consumer")

EVENTS_EVERY_S = 0.1
EVENTS_AT_ONCE = 200
_RETRY_FIRST_S: Any = 0.2  # Any: kombu's stub takes whole seconds only
_RETRY_STEP_S: Any = 0.3
_RETRY_MOST_S: Any = 2.0


class Consumer(StockConsumer):
    """Chosen with `worker_consumer="workers.pool.consumer:Consumer"`."""

    hub: Any
    event_dispatcher: Any
    _flush_events: Callable[[], None]
    _flush_due = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A message that cannot be read has left the queue, a Redis that refuses writes will take them again.
        known: tuple[type[Exception], ...] = self.connection_errors  # type: ignore[has-type]  # not in the stubs
        self.connection_errors = (*known, RedisError, ValueError, TypeError, AttributeError)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Forget the BRPOP of the lost connection, then do as Celery does.

        Upstream defect (celery and kombu 5.7.0): closing the channel first reads the answer of a BRPOP that is still
        in poll, from the dead connection. That raises half-way through the closing, so the channel is left open
        without its transport; giving back its unacknowledged messages then ends the worker with "'NoneType' object has
        no attribute 'hostname'".
        """
        channel = getattr(self.connection, "_default_channel", None)
        if channel is not None:
            channel._in_poll = None  # noqa: SLF001  the only way to say that nothing is awaited any more
        with warnings.catch_warnings():
            # At each reconnect Celery would announce the next default of a setting that we set.
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)

    def ensure_connected(self, conn: Connection) -> Connection:
        """Connect, trying again for as long as it takes: at most 2 s apart, where Celery lets 30 s pass."""
        conn.ensure_connection(
            self._say_waiting,
            None,  # type: ignore[arg-type]  # kombu's stub leaves out its own default
            interval_start=_RETRY_FIRST_S,
            interval_step=_RETRY_STEP_S,
            interval_max=_RETRY_MOST_S,
            callback=self._while_waiting,
        )
        self.first_connection_attempt = False
        return conn

    def connect(self) -> Connection:
        """Connect, and let `inspect stats` tell the broker without its password.

        Upstream defect (celery and kombu 5.7.0): of a unix socket's URL the whole counts as the host's name.
        """
        connection = super().connect()
        told = connection.info
        connection.info = lambda: _without_password(told())  # type: ignore[method-assign]
        return connection

    def register_with_event_loop(self, hub: Any) -> None:
        """Have the hub touch the liveness file; called again after each reconnect."""
        super().register_with_event_loop(hub)
        if self.event_dispatcher is not None:
            # A cold shutdown sends events from a signal handler, perhaps on top of a send that holds this very lock.
            self.event_dispatcher.mutex = threading.RLock()
        self._show_life(consuming=True)
        hub.call_repeatedly(hooks_of(self.app).liveness_s, self._look)

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # the stub's answer is not Celery's
        """Send buffered events within 100 ms, where Celery sends them at the next tick: one publish for many tasks."""
        if self.blueprint.state != bootsteps.RUN:  # type: ignore[attr-defined]  # missing in the stub
            super().on_send_event_buffered()
        elif not self._flush_due:
            self._flush_due = True
            self.event_dispatcher.buffer_limit = EVENTS_AT_ONCE
            self.hub.call_later(EVENTS_EVERY_S, self._flush_now)

    def _flush_now(self) -> None:
        self._flush_due = False
        self._flush_events()

    def _say_waiting(self, exc: BaseException, interval_s: float) -> None:
        log.warning("Waiting for the broker", context={"error_type": type(exc).__name__, "again_in_s": interval_s})

    def _while_waiting(self) -> None:
        maybe_shutdown()
        self._show_life(consuming=False)

    def _look(self) -> None:
        check_heard(self.connection)
        self._show_life(consuming=True)

    def _show_life(self, *, consuming: bool) -> None:
        hooks = hooks_of(self.app)
        hooks.show_life(consuming=consuming)
        path = hooks.liveness_file
        if path is not None:
            try:
                path.touch()
            except OSError as exc:
                log.error("The liveness file cannot be touched", exc=exc)


def _without_password(told: Any) -> dict[str, Any]:
    scheme, mark, rest = str(told.get("hostname")).partition("://")
    return {**told, "hostname": f"{scheme}{mark}{rest.rpartition('@')[2].partition('?')[0]}"}
