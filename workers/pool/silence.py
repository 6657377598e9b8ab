"""A broker that has gone silent behind Sentinel: nobody else would notice, and another server may be the master by now."""

from __future__ import annotations

import time
from typing import Any

from kombu.transport.redis import SentinelChannel
from redis.exceptions import ConnectionError as RedisConnectionError

SILENCE_S = 10.0
"""kombu has its server answer at least once a second, message or not."""


def check_heard(connection: Any, *, silence_s: float = SILENCE_S) -> None:
    """Return when the broker was heard lately, or cannot be another server than the one that is connected.

    To a machine that was cut off, or a frozen server, a connection stands for hours. kombu drops it after 26 s, and connects
    to the same address again.

    Raises:
        ConnectionError: it was not heard for `silence_s` seconds; the consumer then connects anew, to whatever is the master.
    """
    found = getattr(connection, "_default_channel", None)
    if not isinstance(found, SentinelChannel):
        return
    channel: Any = found  # its stub is incomplete
    waits, asked_s = channel._in_poll, channel._brpop_sent_at  # noqa: SLF001  kombu has no public names for them
    if waits and asked_s is not None and time.monotonic() - asked_s > silence_s:
        raise RedisConnectionError("expected the broker to answer, it is silent")
