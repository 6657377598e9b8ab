"""Hearing what other processes change, by following the log of changes.

The log is a stream, not a channel: its reader has a position, so what was said while he was away is still there. XREAD
waits on the server, so a change arrives as fast as a published message would; the same holds under RESP2 and RESP3, since
nothing is pushed. What can still be lost (the log was trimmed past the reader, expired, or was wiped) is noticed from its
ends at each check, every 2 s and after each reconnection, and answered by forgetting all of L1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from redis.asyncio import Redis

from infrastructure.core.asyncio_core import within_free
from infrastructure.core.cache_core.circuit import FAILURES
from infrastructure.core.cache_core.scopes import Scope, instant, read_scope
from infrastructure.core.logger_core import CoreLogger, where

BLOCK_MS = 1_000
ANSWER_S = 2.0
"""Longer than `BLOCK_MS`: a server that says nothing for this long, while the loop is free, is not there."""
COUNT = 512
GATHER_S = 0.01
"""Pause between reads: a thousand changes a second wake a process a hundred times, not a thousand."""
CHECK_S = 2.0
BELIEVE_S = 4.0
"""How long L1 is believed after the last word from the log."""
FIRST_PAUSE_S, LAST_PAUSE_S = 0.05, 1.0
_START = b"0-0"


class Listener:
    """Follows the log: `on_change(scope, entry_id)` for each change, `on_gap()` when some may have been missed.

    `believed_until` is the instant (of `clock`, seconds) until which a process may think that it has heard everything.
    """

    def __init__(
        self,
        redis: Redis,
        log_key: bytes,
        *,
        on_change: Callable[[Scope, bytes], None],
        on_gap: Callable[[], None],
        on_failure: Callable[[BaseException], None],
        clock: Callable[[], float],
        log: CoreLogger,
    ) -> None:
        self._redis = redis
        self._key = log_key
        self._on_change = on_change
        self._on_gap = on_gap
        self._on_failure = on_failure
        self._clock = clock
        self._log = log
        self._position: bytes | None = None
        self._checked: bytes = _START
        self._first_heard: bytes | None = None
        self._next_check = 0.0
        self.believed_until = 0.0

    async def listen(self) -> None:
        """Follow the log until cancelled."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._check()
                pause = FIRST_PAUSE_S
                while True:
                    await self._read()
            except FAILURES as exc:
                self._on_failure(exc)
            except Exception as exc:  # noqa: BLE001  a listener that died silently would leave stale values
                self._log.error("Cache listener failed, trying again", context=where(exc))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE_S)

    async def _read(self) -> None:
        position = self._position or _START
        asked = self._redis.xread({self._key: position}, count=COUNT, block=BLOCK_MS)
        answer = await within_free(asked, ANSWER_S)
        entries = _entries(answer)
        for entry_id, fields in entries:
            self._on_change(read_scope(fields), entry_id)
            self._position = entry_id
            self._first_heard = self._first_heard or entry_id
        if len(entries) >= COUNT or self._clock() >= self._next_check:
            await self._check()
        if len(entries) < COUNT:
            self.believed_until = self._clock() + BELIEVE_S
            await asyncio.sleep(GATHER_S)

    async def _check(self) -> None:
        """Compare where we stand with the ends of the log."""
        oldest, newest = await within_free(self._ends(), ANSWER_S)
        first, last = (oldest[0][0], newest[0][0]) if oldest else (_START, _START)
        if self._position is None or self._missed(first, last):
            self._position = last
            self._on_gap()
        self._checked, self._first_heard = self._position, None
        self._next_check = self._clock() + CHECK_S
        if self._position == last:
            self.believed_until = self._clock() + BELIEVE_S

    async def _ends(self) -> Any:
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xrange(self._key, count=1)
            pipe.xrevrange(self._key, count=1)
            return await pipe.execute()

    def _missed(self, first: bytes, last: bytes) -> bool:
        """Say whether the log ends before our place, or has lost what it had at the last check or right after it."""
        position = self._position or _START
        if instant(last) < instant(position):
            return True
        if self._checked == _START:  # it was empty then: the first that we heard must still be its first
            return self._first_heard not in {None, first}
        return instant(first) > instant(self._checked)


def _entries(answer: Any) -> list[tuple[bytes, Mapping[bytes, bytes]]]:
    """Return the entries of one stream, as RESP2 ([[key, entries]]) or RESP3 ({key: [entries]}) gives them."""
    if not answer:
        return []
    if isinstance(answer, dict):
        return [entry for entries in answer.values() for part in entries for entry in part]
    return list(answer[0][1])
