"""Automatic recovery: parts that stop answering their pings are stopped and started again, a bounded number of times."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.logger_core import CoreLogger, where
from infrastructure.optional.container_core.parts import Part, Ping, Recovery, do


class Keeper:
    """Looks after the parts that have a recovery, one task for each."""

    def __init__(self, log: CoreLogger) -> None:
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []
        self._restarts: dict[str, int] = {}
        self._given_up: set[str] = set()

    def start(self, parts: Sequence[tuple[Part, Any]]) -> None:
        """Begin to look after parts that are started."""
        self._tasks = [
            asyncio.create_task(self._keep(part, value, part.recovery), name=f"keeper of {part.title}")
            for part, value in parts
            if part.recovery is not None
        ]

    async def stop(self) -> None:
        """Mend nothing any more."""
        tasks, self._tasks = self._tasks, []
        await end_tasks(tasks)

    def get_metrics(self) -> dict[str, Any]:
        """Return the restarts of each part that was ever restarted, and the names of those given up."""
        return {"restarts": dict(self._restarts), "given_up": sorted(self._given_up)}

    async def _keep(self, part: Part, value: Any, recovery: Recovery) -> None:
        """Ping for ever; mend when it is time to."""
        asks = part.lives or part.ping
        ping = Ping(part.title, lambda: asks(value) if asks else None)
        failures = attempts = 0
        while True:
            await asyncio.sleep(recovery.look_every_s)
            if (await ping.ping()).ok:
                self._well(part, attempts)
                failures = attempts = 0
                continue
            failures += 1
            if failures < recovery.failures or attempts > recovery.attempts:
                continue
            attempts += 1
            if attempts > recovery.attempts:
                self._give_up(part)
            else:
                await self._restart(part, value, recovery, attempts)

    async def _restart(self, part: Part, value: Any, recovery: Recovery, attempt: int) -> None:
        if attempt > 1:
            await asyncio.sleep(min(recovery.pause_s * 2 ** (attempt - 2), recovery.longest_s))
        self._log.warning("Part does not answer, starting it again", context={"part": part.title, "attempt": attempt})
        self._restarts[part.title] = self._restarts.get(part.title, 0) + 1
        for step in (part.stop, part.start):
            try:
                await do(step, value)
            except Exception as exc:  # noqa: BLE001  the next ping tells whether it is well
                self._log.error("Part failed to restart", context={"part": part.title, **where(exc)})

    def _well(self, part: Part, attempts: int) -> None:
        self._given_up.discard(part.title)
        if attempts:
            self._log.info("Part answers again", context={"part": part.title, "attempt": attempts})

    def _give_up(self, part: Part) -> None:
        self._given_up.add(part.title)
        self._log.error("Part could not be mended", context={"part": part.title})
