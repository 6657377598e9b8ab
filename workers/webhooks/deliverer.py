"""Sends what is due: claims as much as there is room for, each delivery a task, and looks again as one ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from infrastructure.core.asyncio_core import end_tasks, within
from infrastructure.core.config_core.sections import Webhooks
from infrastructure.core.error_core import StoreError
from infrastructure.core.logger_core import CoreLogger
from infrastructure.core.performance_core import PerformanceTracker
from infrastructure.core.performance_core.operations import (
    WEBHOOK,
    WEBHOOKS_DELIVERED,
    WEBHOOKS_DISABLED,
    WEBHOOKS_FAILED,
)
from infrastructure.optional.event_core import Publisher
from workers.handlers.webhooks import Courier, Done
from workers.jobs import topics
from workers.jobs.ids import new_nonce
from workers.jobs.webhooks.models import Due, Ending
from workers.jobs.webhooks.outbox import Outbox
from workers.webhooks.sender import GRACE_S, Sender

CLAIMED_IN_ONE_GO = 100
CLAIMS_IN_A_ROW = 20
LAST_SENDS_S = 4.0
RELEASE_S = 2.0
LEASE_MARGIN_S = 5.0
TOLD_EVERY_S = 60.0
MOST_REMEMBERED = 1_000


class Deliverer:
    """The deliveries of one upkeep process. Used on one event loop.

    Any number of processes may share an outbox: a delivery is sent by whoever claimed it, and a claim that its process does
    not live to settle is due again when its lease ends, the time of an attempt and a few seconds.
    """

    def __init__(
        self,
        courier: Courier,
        sender: Sender,
        *,
        rules: Callable[[], Webhooks],
        events: Publisher,
        tracker: PerformanceTracker,
        log: CoreLogger,
    ) -> None:
        self._courier = courier
        self._sender = sender
        self._outbox: Outbox = courier.outbox
        self._rules = rules
        self._events = events
        self._tracker = tracker
        self._log = log
        self._sends: dict[asyncio.Task[None], Due] = {}
        self._claiming = asyncio.Lock()
        self._refill: asyncio.Task[None] | None = None
        self._closing = False
        self._told_s: dict[str, float] = {}

    async def pump(self) -> dict[str, int]:
        """Begin to send what is due, as far as there is room; return how many were begun, and how many are under way.

        Where that is being done already it is not waited for: a look every half second must not pile up behind a slow Redis.

        Raises:
            StoreError: Redis did not do its part; the next call goes on.
        """
        begun = 0
        if not self._claiming.locked():
            async with self._claiming:
                begun = await self._claim_all()
        return {"begun": begun, "in_flight": len(self._sends)}

    async def close(self) -> None:
        """Let what is being sent end, for a few seconds; give the rest back, and close what is open."""
        self._closing = True
        if self._sends:
            await asyncio.wait(self._sends, timeout=LAST_SENDS_S)
        left = dict(self._sends)
        await end_tasks([*left, *([self._refill] if self._refill else [])], within_s=1)
        try:
            await within(self._release(left.values()), RELEASE_S)
        except (StoreError, TimeoutError):
            self._log.warning("Webhooks were not given back; they are due again when their lease ends", context={"count": len(left)})  # fmt: skip
        await self._sender.close()

    async def _release(self, claims: Iterable[Due]) -> None:
        for due in claims:
            await self._outbox.settle(due, Ending.RELEASED)

    async def _claim_all(self) -> int:
        begun = 0
        for _ in range(CLAIMS_IN_A_ROW):  # each end of a send looks again
            room = self._rules().concurrency - len(self._sends)
            if self._closing or room <= 0:
                break
            claimed = await self._claim(min(room, CLAIMED_IN_ONE_GO))
            for due in claimed:
                self._begin(due)
            begun += len(claimed)
            if not claimed:
                break
        return begun

    async def _claim(self, most: int) -> list[Due]:
        rules = self._rules()
        lease_s = rules.timeout_s + GRACE_S + LEASE_MARGIN_S
        return await self._outbox.claim(
            new_nonce(),
            most=most,
            per_endpoint=rules.per_endpoint,
            per_tenant=rules.per_tenant,
            lease_ms=round(1_000 * lease_s),
        )

    def _begin(self, due: Due) -> None:
        task = asyncio.create_task(self._send(due), name=f"webhook {due.id}")
        self._sends[task] = due
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._sends.pop(task, None)
        if not self._closing and (self._refill is None or self._refill.done()):
            self._refill = asyncio.create_task(self._pump_again(), name="webhooks refill")

    async def _pump_again(self) -> None:
        try:
            await self.pump()
        except StoreError as exc:
            self._log.warning("Webhooks wait for Redis", context={"code": exc.code})

    async def _send(self, due: Due) -> None:
        try:
            self._tell(due, await self._courier.deliver(due))
        except StoreError as exc:
            self._log.warning("Webhook was not settled, and is sent again", context={"message_id": due.id, "code": exc.code})  # fmt: skip
        except Exception as exc:  # noqa: BLE001  one delivery's defect must not stop the others
            self._log.error("Webhook was given up by a defect", context={"message_id": due.id}, exc=exc)

    def _tell(self, due: Due, done: Done) -> None:
        if done.attempt is not None:
            self._tracker.track_operation(WEBHOOK, done.attempt.latency_ms, error=done.attempt.error)
        if done.settled.stale or done.ending in {Ending.RETRY, Ending.RELEASED}:
            self._tell_disabled(due, done.settled.disabled)
            return
        delivered = done.ending is Ending.DELIVERED
        self._tracker.add_amount(WEBHOOKS_DELIVERED if delivered else WEBHOOKS_FAILED, 1)
        if not delivered:
            self._tell_failed(due)
        self._tell_disabled(due, done.settled.disabled)

    def _tell_failed(self, due: Due) -> None:
        """Publish at most one event a minute for an endpoint: what is dead for long has a failure for every job."""
        now_s = time.monotonic()
        if now_s - self._told_s.get(due.endpoint, -TOLD_EVERY_S) < TOLD_EVERY_S:
            return
        if len(self._told_s) >= MOST_REMEMBERED:
            self._told_s.clear()
        self._told_s[due.endpoint] = now_s
        data = {"delivery_id": due.id, "endpoint_id": due.endpoint, "type": due.type}
        self._events.publish(topics.WEBHOOK_FAILED, data)

    def _tell_disabled(self, due: Due, reason: str | None) -> None:
        if reason is None:
            return
        self._tracker.add_amount(WEBHOOKS_DISABLED, 1)
        self._events.publish(topics.WEBHOOK_DISABLED, {"endpoint_id": due.endpoint, "reason": reason})
        self._log.warning("Webhook endpoint was disabled", context={"endpoint_id": due.endpoint, "reason": reason})
