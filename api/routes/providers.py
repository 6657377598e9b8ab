"""`/api/v1/providers` and `/api/v1/costs`: how the providers do, and what their calls cost."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from api.figures.costs import By, costs_json
from api.figures.providers import Known, health_json, is_fresh, provider_json
from api.front import FrontDoor, front_of, within
from api.keys.auth import operator, principal
from api.keys.keys import Principal
from api.reference import documents
from api.views import answer
from infrastructure.core.performance_core.operations import HEALTH_CACHE_HIT, HEALTH_CACHE_MISS
from workers import queues
from workers.jobs.gate.accounts import account_states
from workers.jobs.gate.costs import MOST_DAYS, costs
from workers.jobs.gate.redis_gate import RedisGate
from workers.jobs.health import Health, HealthStore
from workers.jobs.prices import PriceBoard

router = APIRouter()
Operator = Annotated[Principal, Depends(operator)]
Caller = Annotated[Principal, Depends(principal)]
Days = Annotated[int, Query(ge=1, le=MOST_DAYS, description="So many days back, by UTC; today is one.")]
Group = Annotated[By, Query(description="What a row stands for.")]


@router.get("/api/v1/providers", **documents.PROVIDERS)
async def providers(request: Request, _: Operator) -> Response:
    """List the configured providers: health, breakers, and how the choice between their models is made.

    A score is the expected cost of one good answer of 1,000 tokens in and 256 out; the lower one is preferred.
    """
    front = front_of(request.scope)
    known = await within(_known(front))
    settings = front.settings
    data = [provider_json(name, settings, known) for name in settings.providers]
    return answer({"object": "list", "data": data})


@router.get("/api/v1/providers/health", **documents.PROVIDERS_HEALTH)
async def providers_health(request: Request, _: Operator) -> Response:
    """Tell how the providers in use do, by their last checks, and how old those are; nobody is probed for this answer.

    Where a check is stale, another one is asked for.
    """
    front, began = front_of(request.scope), time.perf_counter()
    checked = await within(_health(front))
    fresh = all(is_fresh(one, front.settings) for one in checked.values())
    if not fresh:
        front.bell.ring_upkeep(queues.TASK_HEALTH, queues.HEALTH_S)
    took_ms = 1_000 * (time.perf_counter() - began)
    front.observation.tracker.track_operation(HEALTH_CACHE_HIT if fresh else HEALTH_CACHE_MISS, took_ms)
    data = [health_json(one, front.settings) for one in checked.values()]
    return answer({"object": "list", "fresh": fresh, "data": data})


@router.get("/api/v1/costs", **documents.COSTS)
async def list_costs(request: Request, caller: Caller, days: Days = 1, by: Group = "day") -> Response:
    """Tell what provider calls cost: of all tenants to operators, of their own to tenants.

    `cost_usd` is what is known; of `unpriced` calls it is unknown.
    """
    front = front_of(request.scope)
    tenant = None if caller.operator else caller.tenant
    rows = await within(costs(front.redis, front.settings.redis.prefix, days=days, tenant=tenant))
    return answer(costs_json(rows, days=days, by=by, probes=caller.operator))


async def _known(front: FrontDoor) -> Known:
    prefix, settings = front.settings.redis.prefix, front.settings
    gate = RedisGate(front.redis, prefix=prefix, owner="", breakers=lambda: settings.breakers)  # only to read
    states, health, accounts, prices = await asyncio.gather(
        gate.states(),
        _health(front),
        account_states(front.redis, prefix, settings.providers),
        PriceBoard(front.redis, prefix=prefix).read(),
    )
    return Known(states=states, health=health, accounts=accounts, prices=prices)


async def _health(front: FrontDoor) -> dict[str, Health]:
    store = HealthStore(front.redis, prefix=front.settings.redis.prefix)
    return await store.read(front.settings.in_use())
