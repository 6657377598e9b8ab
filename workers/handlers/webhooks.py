"""One due delivery: signed, sent, judged, and what came of it written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from infrastructure.core.config_core.sections import Webhooks
from infrastructure.core.error_core import ConfigError
from infrastructure.core.logger_core import CoreLogger
from workers.jobs.webhooks.models import Due, Ending, Settled, Try
from workers.jobs.webhooks.outbox import Outbox
from workers.jobs.webhooks.schedule import wait_ms
from workers.jobs.webhooks.signing import fingerprint, secret_key, signed_headers
from workers.jobs.webhooks.urls import Target, UrlRefused, target

NO_SECRET_WAIT_MS = 30_000
WAITS_LONGER = frozenset({429, 503})
Wait = Callable[..., int | None]


class Answered(Protocol):
    """What came of an attempt."""

    @property
    def status(self) -> int | None:
        """Return the answer's status, None where there was none."""

    @property
    def error(self) -> str | None:
        """Return the class of the failure, None when the delivery was taken."""

    @property
    def latency_ms(self) -> int:
        """Return how long it took."""

    @property
    def retry_after_s(self) -> float | None:
        """Return what the receiver asks for."""


Post = Callable[[Target, bytes, Mapping[str, str], float], Awaitable[Answered]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a delivery came to for now."""

    ending: Ending
    attempt: Try | None
    settled: Settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Courier:
    """The collaborators of a delivery. `secret` is the service's; `now_s` the time of day; `wait` the schedule."""

    outbox: Outbox
    post: Post
    secret: Callable[[], bytes]
    rules: Callable[[], Webhooks]
    now_s: Callable[[], float]
    log: CoreLogger
    wait: Wait = wait_ms

    async def deliver(self, due: Due) -> Done:
        """Send a claimed delivery once and write what came of it.

        Without the secret that its endpoint was registered under it is put back untouched: a wrong signature would make the
        receiver refuse what another upkeep process can send.
        """
        keys = self._keys(due)
        if keys is None:
            settled = await self.outbox.settle(due, Ending.RELEASED, wait_ms=NO_SECRET_WAIT_MS)
            return Done(ending=Ending.RELEASED, attempt=None, settled=settled)
        began_s = self.now_s()
        headers = signed_headers(due.id, int(began_s), due.body, keys=keys)
        status, error, latency_ms, asked_s = await self._sent(due, headers)
        attempt = Try(at_ms=round(1_000 * began_s), status=status, latency_ms=latency_ms, error=error)
        return await self._settle(due, attempt, asked_s if status in WAITS_LONGER else None)

    def _keys(self, due: Due) -> tuple[bytes, ...] | None:
        try:
            secret = self.secret()
        except ConfigError as exc:
            self.log.error("Webhooks cannot be signed", exc=exc)
            return None
        if fingerprint(secret) != due.fingerprint:
            self.log.error(
                "Webhook endpoint was registered under another service secret: rotate its own, or give upkeep the front door's",
                context={"endpoint_id": due.endpoint},
            )
            return None
        return tuple(secret_key(secret, due.endpoint, salt) for salt in due.salts)

    async def _sent(self, due: Due, headers: Mapping[str, str]) -> tuple[int | None, str | None, int, float | None]:
        rules = self.rules()
        try:
            where = target(due.url, rules)
        except UrlRefused:  # the rules have changed since it was registered
            return None, "address_refused", 0, None
        answer = await self.post(where, due.body, headers, rules.timeout_s)
        return answer.status, answer.error, answer.latency_ms, answer.retry_after_s

    async def _settle(self, due: Due, attempt: Try, asked_s: float | None) -> Done:
        gone = attempt.error == "gone"
        wait = None if gone or attempt.error is None else self.wait(due.tried + 1, asked_s=asked_s)
        ending = Ending.DELIVERED if attempt.error is None else Ending.FAILED if wait is None else Ending.RETRY
        settled = await self.outbox.settle(
            due,
            ending,
            attempt=attempt,
            wait_ms=wait or 0,
            reason="gone" if gone else "",
            disable_after_ms=round(1_000 * self.rules().disable_after_s),
        )
        return Done(ending=ending, attempt=attempt, settled=settled)
