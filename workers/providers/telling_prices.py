"""Tells the fleet what the models cost that this process uses, once an hour each."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

from infrastructure.core.error_core import StoreError
from workers.jobs.prices import Key, PriceBoard, TokenPrice
from workers.providers.calls import Target

AGAIN_S = 3_600.0
TOLD_EACH_S = 2.0
MOST = 1_000
"""Names of models come from callers."""


class PriceTelling:
    """Used on one event loop; `saw` costs a look into a table a candidate."""

    def __init__(self, board: PriceBoard, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._board = board
        self._clock = clock
        self._told: dict[Key, float] = {}
        self._new: dict[Key, TokenPrice | None] = {}

    def saw(self, targets: Sequence[Target]) -> None:
        """Hear of candidates in use; what was not told within the hour is told soon."""
        now = self._clock()
        for target in targets:
            told = self._told.get(target.key)
            if (told is None and len(self._told) < MOST) or (told is not None and now - told > AGAIN_S):
                self._told[target.key] = now
                self._new[target.key] = None if target.prices is None else TokenPrice(*target.prices)

    async def tell(self) -> None:
        """Tell what is new.

        Raises:
            StoreError: Redis does not answer; it is still new then.
        """
        if new := dict(self._new):
            await self._board.tell(new)
            for key in new:
                self._new.pop(key, None)

    async def follow(self) -> None:
        """Tell what is new, every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(TOLD_EACH_S)
            with contextlib.suppress(StoreError):
                await self.tell()
