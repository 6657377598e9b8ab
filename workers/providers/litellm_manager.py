"""From a request to an answer: route, cache, shared call, candidates in order, one call at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from infrastructure.core.config_core import Settings
from infrastructure.core.performance_core import get_performance_tracker
from infrastructure.core.performance_core.operations import CACHE_MISS, PROVIDER_SELECTION
from infrastructure.optional.event_core import NullPublisher, Publisher
from workers.jobs.gate.local_gate import LocalGate
from workers.jobs.gate.models import Gate
from workers.providers import route
from workers.providers.accounts import Accounts, accounts
from workers.providers.attempts import Attempts
from workers.providers.booking import silent_end
from workers.providers.budget import RetryBudget
from workers.providers.caching.key import CacheKey, cache_key
from workers.providers.caching.plan import Plan, plan
from workers.providers.caching.response_cache import AnswerCache, Kept, NullAnswerCache
from workers.providers.calls import (
    DEADLINE_EXCEEDED,
    Answer,
    Call,
    CompletionFailed,
    JobGone,
    PutBack,
    Target,
)
from workers.providers.closing import Closing
from workers.providers.delivery import Delivery, Tally, Tools
from workers.providers.estimate import size_of
from workers.providers.flights.flight import FlightLost, Keep, Shared
from workers.providers.flights.flights import NullFlights, Sharing
from workers.providers.flights.party import Party, Solo
from workers.providers.library import Library, load
from workers.providers.savings import NullSavings, Savings
from workers.providers.selection.selector import Selector
from workers.providers.selection.standings import Standings
from workers.providers.silence import Silence, Waiting
from workers.providers.telling import Telling
from workers.providers.work import Opened, Tried, Work

__all__ = ["Answer", "Call", "CompletionFailed", "JobGone", "LiteLLMManager", "PutBack"]

DRAIN_S = 3.0


class LiteLLMManager:
    """Makes completions through LiteLLM. Used on one event loop.

    Args:
        settings: asked once for each call that brings none, so that a reload takes effect with the next.
        events: hears of failovers.
        gate: lets calls through and learns from them; None: one of this process alone.
        cache: keeps answers; None: nothing is kept.
        flights: lets equal requests share a call; None: everyone calls.
        savings: where it is booked what cache and flights saved; None: nowhere.
        prices: hears of the candidates that are used, whose prices it tells.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        events: Publisher | None = None,
        gate: Gate | None = None,
        cache: AnswerCache | None = None,
        flights: Sharing[Answer] | None = None,
        savings: Savings | None = None,
        prices: Callable[[Sequence[Target]], None] | None = None,
    ) -> None:
        self._settings = settings
        self._prices = prices or (lambda _: None)
        self._gate = gate or LocalGate(breakers=lambda: settings().breakers)
        self._cache = cache or NullAnswerCache()
        self._flights: Sharing[Answer] = flights or NullFlights()
        self._savings = savings or NullSavings()
        self._telling = Telling(events or NullPublisher())
        self._closing = Closing()
        self._standings = Standings(self._gate)
        self._selector = Selector(self._standings)
        self._silence = Silence(self._tell_silence, factor=lambda: settings().breakers.silence_factor)
        self._attempts = Attempts(self._gate, standings=self._standings, silence=self._silence, closing=self._closing)
        self._budget = RetryBudget(settings().retries)
        self._library: Library | None = None
        self._accounts: Accounts | None = None
        self._routes: route.Routes | None = None

    async def start(self) -> None:
        """Import LiteLLM, in a thread since that takes seconds; once."""
        if self._library is None:
            self._library = await asyncio.to_thread(load, concurrency=self._settings().worker.concurrency)
            self._accounts = accounts(self._library)
            self._routes = route.Routes(self._library.facts)

    def background(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Return, by name, what goes on beside the calls until it is cancelled."""
        return {"standings": self._standings.follow, "silence": self._silence.watch}

    async def settle(self) -> None:
        """Tell the gate what is left to tell of calls that have ended."""
        await self._closing.drain(within_s=DRAIN_S)

    async def close(self) -> None:
        """Tell the gate what is left to tell, and close all connections to providers."""
        await self.settle()
        library, self._library = self._library, None
        opened, self._accounts = self._accounts, None
        if opened is not None:
            await opened.close()
        if library is not None:
            await library.close()

    async def completion(self, call: Call) -> Answer:
        """Return an answer: one that is kept, or that an equal request got, or the first good one of the model's candidates.

        Raises:
            CompletionFailed: there is none.
            PutBack: no candidate may be called for now, and the call's deadline leaves time to wait.
            JobGone: the call's job is not ours any more.
        """
        _in_time(call)
        began, settings = time.monotonic(), call.settings or self._settings()
        targets = self._targets(settings, call)
        use, key = _plan(settings, call, targets)
        if use.reads and (kept := await self._cache.find(key)):
            return self._hit(call, kept, key, began)
        _in_time(call)  # a cancel at the deadline may have been swallowed by redis-py
        answer = await self._shared(call, settings, targets, use, key, began=began)
        if use.reads and answer.cache != "hit":
            get_performance_tracker(settings.service.name).track_operation(
                CACHE_MISS, 1_000 * (time.monotonic() - began)
            )
        return answer

    async def probe(self, call: Call) -> Tried | None:
        """Make one attempt at the only candidate of `provider/model`, where the gate lets it; it is booked as a probe.

        Returns None where the gate refuses.

        Raises:
            CompletionFailed: that provider is not in use.
        """
        settings = call.settings or self._settings()
        library, opened = self._ready()
        target, size = self._targets(settings, call)[0], size_of(call.params)
        self._prices([target])
        async with opened.using(settings.version, settings.in_use()) as mine:
            party = Solo(call.deadline)
            work = Work(
                call=call, settings=settings, party=party, size=size, library=library, accounts=mine, probe=True
            )
            admitted = await self._attempts.open(work, self._selector.order([target], size, settings.selection)[0])
            return await self._attempts.make(work, admitted) if isinstance(admitted, Opened) else None

    async def _shared(
        self, call: Call, settings: Settings, targets: Sequence[Target], use: Plan, key: CacheKey, *, began: float
    ) -> Answer:
        """Have the call made, by whoever of the equal requests leads; the answer is kept where it was made."""
        tally = Tally()
        lead = partial(self._lead, call, settings, targets, tally)
        keep = partial(self._keep, key, use) if use.keeps else None
        if not use.joins:
            answer = await lead(Solo(call.deadline, call.job))
            if keep is not None:
                await keep(answer)
            return answer
        try:
            shared = await self._flights.share(
                key, lead, deadline=call.deadline, job=call.job, keep=keep, kept_s=use.ttl_s,
                refill=self._refill(key, use, older_s=settings.flights.kept_s),
            )  # fmt: skip
        except TimeoutError:
            raise CompletionFailed(
                "the deadline passed before an answer came", job_code=DEADLINE_EXCEEDED, attempts=tally.attempts()
            ) from None
        except FlightLost:
            return await lead(Solo(call.deadline, call.job))
        if shared.ready:
            return self._hit(call, _kept(shared.answer), key, began)
        return self._joined(call, shared) if shared.joined else shared.answer

    async def _lead(
        self, call: Call, settings: Settings, targets: Sequence[Target], tally: Tally, party: Party
    ) -> Answer:
        """Make the call for a party; it may outlive the request that began it."""
        library, opened = self._ready()
        tracker, size = get_performance_tracker(settings.service.name), size_of(call.params)
        able = route.able(targets, call)
        self._prices(able)
        async with opened.using(settings.version, settings.in_use()) as mine:
            work = Work(call=call, settings=settings, party=party, size=size, library=library, accounts=mine)
            with tracker.track_operation(PROVIDER_SELECTION):
                order = self._selector.order(able, size, settings.selection, left_s=work.remaining_s)
            self._budget.follow(settings.retries)
            tools = Tools(attempts=self._attempts, budget=self._budget, telling=self._telling, tracker=tracker)
            return await Delivery(work, order, tools, tally).answer()

    async def _keep(self, key: CacheKey, use: Plan, answer: Answer) -> None:
        await self._closing.finish(self._cache.keep(key, _kept(answer), use.ttl_s))

    def _refill(self, key: CacheKey, use: Plan, *, older_s: float) -> Keep[Answer] | None:
        """Return how an answer is kept that came up to `older_s` seconds ago, and that the cache has not (any more)."""
        left_s = use.ttl_s - older_s
        return partial(self._keep, key, replace(use, ttl_s=left_s)) if use.keeps and left_s > 0 else None

    def _hit(self, call: Call, kept: Kept, key: CacheKey, began: float) -> Answer:
        took_ms = 1_000 * (time.monotonic() - began)
        answer = Answer(
            result=kept.result,
            usage=kept.usage,
            cost_usd=0.0,
            attempts=(),
            provider=kept.provider,
            model=kept.model,
            latency_ms=kept.latency_ms,
            cache="hit",
            saved_usd=kept.cost_usd,
            saved_ms=round(max(0.0, kept.latency_ms - took_ms), 1),
        )
        tracker = get_performance_tracker(self._settings().service.name)
        self._telling.hit(answer, digest=key.digest, took_ms=took_ms, tracker=tracker)
        self._savings.hit(tenant=call.tenant, provider=kept.provider, model=kept.model, saved_usd=kept.cost_usd)
        return answer

    def _joined(self, call: Call, shared: Shared[Answer]) -> Answer:
        """Return a shared answer as it is for one who did not pay for it."""
        paid = shared.answer
        self._savings.joined(tenant=call.tenant, provider=paid.provider, model=paid.model, saved_usd=paid.cost_usd)
        return replace(
            paid,
            attempts=(),
            cost_usd=0.0,
            cache="joined",
            saved_usd=paid.cost_usd,
            saved_ms=round(shared.led_ms, 1),
        )

    async def _tell_silence(self, waiting: Waiting) -> None:
        self._standings.learn(await self._gate.end(silent_end(waiting, time.monotonic())))

    def _targets(self, settings: Settings, call: Call) -> tuple[Target, ...]:
        self._ready()
        assert self._routes is not None  # noqa: S101  made with the library
        return self._routes.targets(settings, call)

    def _ready(self) -> tuple[Library, Accounts]:
        if self._library is None or self._accounts is None:
            raise RuntimeError("expected LiteLLMManager to be started, got a call before start() or after close()")
        return self._library, self._accounts


def _kept(answer: Answer) -> Kept:
    return Kept(
        result=answer.result,
        usage=answer.usage,
        cost_usd=answer.cost_usd,
        provider=answer.provider,
        model=answer.model,
        latency_ms=answer.latency_ms,
    )


def _in_time(call: Call) -> None:
    if call.deadline <= time.monotonic():
        raise CompletionFailed("the deadline passed before a provider was asked", job_code=DEADLINE_EXCEEDED)


def _plan(settings: Settings, call: Call, targets: Sequence[Target]) -> tuple[Plan, CacheKey]:
    use = plan(settings, call.cache, call.params)
    if not (use.keeps or use.joins):
        return use, CacheKey("", call.tenant, "")
    candidates = [target.key for target in targets]
    return use, cache_key(tenant=call.tenant, model=call.model, candidates=candidates, params=call.params)
