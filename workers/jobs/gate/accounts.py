"""How the breakers of provider accounts stand, also of those whose models nobody called lately."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from redis.asyncio import Redis

from infrastructure.core.redis_core import store_errors
from workers.jobs.gate.models import Breaker
from workers.jobs.keys import part

_FIELDS = ("state", "reason", "opened", "next", "permit_until")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """The breaker of an account, by Redis time. Ages and waits in ms; None: it is closed."""

    breaker: Breaker = Breaker.CLOSED
    reason: str = ""
    opened_ago_ms: int | None = None
    next_probe_ms: int | None = None


async def account_states(redis: Redis, prefix: str, providers: Iterable[str]) -> dict[str, AccountState]:
    """Return the breaker of each account.

    Raises:
        StoreError: Redis does not answer.
    """
    names = list(providers)
    with store_errors():
        async with redis.pipeline(transaction=False) as pipe:
            pipe.time()
            for name in names:
                pipe.hmget(f"{prefix}:breaker:{part(name)}", _FIELDS)
            (seconds, micros), *rows = await pipe.execute()
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    return {name: _state(row, now_ms) for name, row in zip(names, rows, strict=True)}


def _state(row: list[bytes | None], now_ms: int) -> AccountState:
    state, reason, opened, due, permit_until = row
    if state is None:
        return AccountState()
    breaker = Breaker(state.decode())
    until = permit_until if breaker is Breaker.HALF_OPEN else due
    return AccountState(
        breaker=breaker,
        reason=(reason or b"").decode(),
        opened_ago_ms=max(0, now_ms - int(float(opened or now_ms))),
        next_probe_ms=max(0, int(float(until or now_ms)) - now_ms),
    )
