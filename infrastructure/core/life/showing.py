"""A process on an event loop that shows its life from there."""

from __future__ import annotations

import asyncio

from infrastructure.core.life.signs import Signs

SHOW_EVERY_S = 1.0


async def keep_showing(signs: Signs) -> None:
    """Show life once a second until cancelled: a loop that hangs shows none."""
    while True:
        signs.show()
        await asyncio.sleep(SHOW_EVERY_S)
