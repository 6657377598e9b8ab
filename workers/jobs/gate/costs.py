"""The ledger of provider calls: one hash a day, `cost:{YYYY-MM-DD}` by UTC, with amounts by tenant, provider and model.

Written by the scripts that end a call or find it lost, and by `Credits`. Fields are `tenant|provider|model|what`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import orjson
from redis.asyncio import Redis

from infrastructure.core.redis_core import store_errors
from workers.jobs import keys
from workers.jobs.gate.grouped import Grouped
from workers.jobs.store import lua

MOST_DAYS = 90
PROBES = "(probe)"
"""Stands in the place of a tenant for health probes."""
PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """What a tenant's calls of one model of a provider came to on one day.

    `cost_usd` is the sum of the known costs. It lacks `unpriced` calls, whose answer nobody has a price for, and
    `maybe_billed` ones: without an answer, cut, stopped, or `lost` with a worker that died. The latter cost
    `maybe_upper_usd` at most, but for `maybe_unbounded` of them, of which that is not known; `lost_…` is the same of the lost.
    """

    day: str
    tenant: str
    provider: str
    model: str
    calls: int = 0
    failed: int = 0
    lost: int = 0
    lost_unbounded: int = 0
    unpriced: int = 0
    maybe_billed: int = 0
    maybe_unbounded: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0
    lost_upper_usd: float = 0
    maybe_upper_usd: float = 0
    saved_usd: float = 0
    """What answers from the cache and shared answers would have cost."""
    hits: int = 0
    joined: int = 0


_AMOUNTS = {field.name: float if field.name.endswith("_usd") else int for field in fields(CostRow)[4:]}


async def costs(redis: Redis, prefix: str, *, days: int = 1, tenant: str | None = None) -> tuple[CostRow, ...]:
    """Return the rows of the last `days` days (today by Redis's clock is one), newest first; of one tenant, or of all.

    Raises:
        StoreError: Redis does not answer.
    """
    with store_errors():
        seconds, _ = await redis.time()
        today = datetime.fromtimestamp(seconds, UTC).date()
        wanted = [(today - timedelta(days=back)).isoformat() for back in range(max(1, min(days, MOST_DAYS)))]
        pipeline = redis.pipeline(transaction=False)
        for day in wanted:
            pipeline.hgetall(keys.cost(prefix, day))
        found = await pipeline.execute()
    rows = [row for day, raw in zip(wanted, found, strict=True) for row in _rows(day, raw.items())]
    return tuple(row for row in rows if tenant is None or row.tenant == tenant)


def _rows(day: str, raw: Iterable[tuple[bytes, bytes]]) -> list[CostRow]:
    amounts: dict[tuple[str, ...], dict[str, float]] = {}
    for field, value in raw:
        *whose, what = field.decode().split("|")
        if kind := _AMOUNTS.get(what):
            amounts.setdefault(tuple(unquote(each) for each in whose), {})[what] = kind(value)
    return [
        CostRow(day=day, tenant=tenant, provider=provider, model=model, **known)  # type: ignore[arg-type]
        for (tenant, provider, model), known in sorted(amounts.items())
    ]


@dataclass(frozen=True, slots=True)
class _Credit:
    tenant: str
    provider: str
    model: str
    what: str
    saved_usd: float | None


class Credits:
    """Books what answers without a provider call have saved, some at a time in the background. Used on one event loop.

    What Redis does not hear is not booked: it is a figure, nobody's money.
    """

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        self._prefix = prefix
        self._script = redis.register_script(lua.source("credit", "workers.jobs.gate"))
        self._credits: Grouped[_Credit, None] = Grouped(self._book, patience_s=PATIENCE_S)

    def hit(self, *, tenant: str, provider: str, model: str, saved_usd: float | None) -> None:
        """Note an answer from the cache, and what it would have cost; None when that is unknown."""
        self._credits.add(_Credit(tenant, provider, model, "hits", saved_usd))

    def joined(self, *, tenant: str, provider: str, model: str, saved_usd: float | None) -> None:
        """Note an answer shared with another job that paid for it."""
        self._credits.add(_Credit(tenant, provider, model, "joined", saved_usd))

    async def close(self) -> None:
        """Let what is noted be written."""
        await self._credits.flush()
        await self._credits.close()

    async def _book(self, credits_: Sequence[_Credit]) -> Sequence[None]:
        items = [
            {
                "tenant": keys.part(each.tenant),
                "p": keys.part(each.provider),
                "m": keys.part(each.model),
                "what": each.what,
                **({} if each.saved_usd is None else {"saved": each.saved_usd}),
            }
            for each in credits_
        ]
        with store_errors():
            await self._script(args=(self._prefix, 0, secrets.token_hex(8), orjson.dumps(items)))
        return [None] * len(items)
