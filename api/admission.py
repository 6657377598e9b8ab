"""Who may come in while the queue is full: the fast look before a body is read, and what a refusal says."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from infrastructure.core.asyncio_core import within
from infrastructure.core.error_core import QueueFull, QueueRefusal, QueueTooSlow, StoreUnavailable, TenantQueueFull
from infrastructure.core.performance_core import PerformanceTracker
from infrastructure.core.performance_core.operations import REJECTED, named
from workers.jobs.models import Priority
from workers.jobs.room import Figures, Limits, Reason, Refused, Room
from workers.jobs.store.job_store import JobStore

K = TypeVar("K")
V = TypeVar("V")
TIGHT_S = 2.0
"""For so long after a refusal the caller's next submits are looked at before their bodies are read."""
LATELY_S = 10.0
LOOK_S = 5.0
SHORTEST_S, LONGEST_S = 1.0, 60.0
SPREAD = 0.2
MOST_LINES = 10_000
_KINDS = {Reason.TENANT_FULL: TenantQueueFull, Reason.FULL: QueueFull, Reason.TOO_SLOW: QueueTooSlow}
_HIGH, _LOW = b'"high"', b'"low"'


class Crowd:
    """How many were refused lately, by line, in this process: those who will come again, each for one place.

    A line is a tenant's own, or (None) that of all. `clock` gives monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: OrderedDict[str | None, tuple[int, int, int]] = OrderedDict()
        self._tight: OrderedDict[str, float] = OrderedDict()

    def add(self, line: str | None, *, tenant: str) -> int:
        """Count one more; return how many there were in the last 10 to 20 seconds, this one among them."""
        now_s = self._clock()
        slot = int(now_s / LATELY_S)
        then, before, count = self._counts.get(line, (slot, 0, 0))
        if slot != then:
            before, count = (count if slot == then + 1 else 0), 0
        _put(self._counts, line, (slot, before, count + 1))
        _put(self._tight, tenant, now_s + TIGHT_S)
        return before + count + 1

    def is_tight(self, tenant: str) -> bool:
        """Say whether a submit of the tenant was refused a moment ago."""
        return self._tight.get(tenant, -math.inf) > self._clock()


class Admission:
    """Turns want of room into errors that say when to come back; one for each front door."""

    def __init__(self, tracker: PerformanceTracker, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tracker = tracker
        self._clock = clock
        self._looking: dict[tuple[str, Limits], asyncio.Task[Room]] = {}
        self.crowd = Crowd(clock=clock)

    async def look(self, store: JobStore, tenant: str, *, limits: Limits, idempotency_key: str | None) -> Room:
        """Return what room there is for the tenant now; whoever asks the same at one time shares one look.

        Raises:
            StoreUnavailable: Redis did not tell within LOOK_S.
        """
        if idempotency_key is not None:
            return await _look(store, tenant, limits, idempotency_key)
        asked = (tenant, limits)
        looking = self._looking.get(asked)
        if looking is None:
            looking = self._looking[asked] = asyncio.create_task(_look(store, tenant, limits, None), name="look")
            looking.add_done_callback(lambda done: self._looked(asked, done))
        return await asyncio.shield(looking)  # who goes away does not take it from the others

    def _looked(self, asked: tuple[str, Limits], done: asyncio.Task[Room]) -> None:
        del self._looking[asked]
        if not done.cancelled():
            done.exception()  # whoever waits still is told; where all have gone, nobody need be

    def check(self, room: Room, body: bytes | None, *, tenant: str, limits: Limits, began: float) -> None:
        """Return when a request may get in; `body` None: not read yet, so that it may be of any priority.

        Raises:
            QueueRefusal: it cannot, whatever is in it that was not looked at.
        """
        reasons = {room.refusals[priority] for priority in possible_priorities(body)}
        if room.known or None in reasons:
            return
        reason = next(reason for reason in room.refusals.values() if reason in reasons and reason is not None)
        raise self.error(Refused(reason=reason, figures=room.figures), tenant=tenant, limits=limits, began=began)

    def error(self, refused: Refused, *, tenant: str, limits: Limits, began: float) -> QueueRefusal:
        """Return the error for a job that did not get in, and count it; `began` is when its decision began."""
        reason, figures = refused.reason, refused.figures
        self._tracker.track_operation(named(REJECTED, reason), 1_000 * (self._clock() - began))
        own = reason is not Reason.FULL
        crowd = self.crowd.add(tenant if own else None, tenant=tenant)
        ahead = max(crowd, figures.waiting) if reason is Reason.TOO_SLOW else crowd
        wait_s = retry_after_s(ahead, per_s=figures.own_per_s if own else figures.all_per_s)
        headers = refusal_headers(reason, limits, figures, wait_s=wait_s)
        return _KINDS[reason](_words(reason, limits, figures), retry_after_s=wait_s, headers=headers)


async def _look(store: JobStore, tenant: str, limits: Limits, idempotency_key: str | None) -> Room:
    try:
        return await within(store.room(tenant, idempotency_key=idempotency_key, limits=limits), LOOK_S)
    except TimeoutError as exc:
        raise StoreUnavailable(f"Redis did not answer within {LOOK_S:g} s", retry_after_s=2) from exc


def retry_after_s(ahead: int, *, per_s: float, draw: Callable[[], float] = random.random) -> float:
    """Return when there is a place, in whole seconds: when the queue has drained by as many as came for one before.

    Up to a fifth more by chance, so that those who were refused together do not come together again; between 1 and 60 s, the
    latter where nothing ended lately.
    """
    wait_s = ahead / per_s if per_s > 0 else LONGEST_S
    return min(LONGEST_S, max(SHORTEST_S, math.ceil(wait_s * (1 + SPREAD * draw()))))


def possible_priorities(body: bytes | None) -> tuple[Priority, ...]:
    """Return the priorities that a body may ask for, by a look at its bytes alone; one that spells them in escapes: any."""
    if body is None or b"\\u" in body:
        return tuple(Priority)
    named_ones = ((Priority.HIGH, _HIGH), (Priority.LOW, _LOW))
    return (Priority.NORMAL, *(priority for priority, name in named_ones if name in body))


def accepted_headers(limits: Limits, waiting: int | None) -> dict[str, str]:
    """Return what an accepted submit is told of its tenant's limit (draft-ietf-httpapi-ratelimit-headers)."""
    if limits.of_tenant is None or waiting is None:
        return {}
    left = max(0, limits.of_tenant - waiting)
    return {"RateLimit-Policy": _policy("tenant", limits.of_tenant), "RateLimit": f'"tenant";r={left}'}


def refusal_headers(reason: Reason, limits: Limits, figures: Figures, *, wait_s: float) -> dict[str, str]:
    """Return the same for a refusal: of each limit that there is how much is left, and of what is used up until when."""
    policies, states = [], []
    if limits.of_tenant is not None:
        left = 0 if reason is Reason.TENANT_FULL else max(0, limits.of_tenant - figures.waiting)
        policies.append(_policy("tenant", limits.of_tenant))
        states.append(f'"tenant";r={left}' + (f";t={wait_s:.0f}" if left == 0 else ""))
    if reason is Reason.FULL and limits.of_all is not None:
        policies.append(_policy("service", limits.of_all))
        states.append(f'"service";r=0;t={wait_s:.0f}')
    if reason is Reason.TOO_SLOW and not states:
        return {}
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}


def _policy(name: str, most: int) -> str:
    return f'"{name}";q={most};qu="concurrent-requests"'


def _words(reason: Reason, limits: Limits, figures: Figures) -> str:
    match reason:
        case Reason.TENANT_FULL:
            return (
                f"expected at most {limits.of_tenant} of your jobs to wait, got {figures.waiting}; nothing was written"
            )
        case Reason.FULL:
            return "expected room in the queue, got one as full as it may be; nothing was written"
        case Reason.TOO_SLOW:
            return (
                f"expected a job to wait for at most {limits.age_s:g} s and half of its deadline, got a line that is slower; "
                "nothing was written"
            )


def _put(table: OrderedDict[K, V], key: K, value: V) -> None:
    """Write an entry, which is the newest then; beyond MOST_LINES the oldest goes."""
    table[key] = value
    table.move_to_end(key)
    if len(table) > MOST_LINES:
        table.popitem(last=False)
