"""The FastAPI application: its parts made, started and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import Depends, FastAPI
from redis.asyncio import Redis

from api.admission import Admission
from api.events import RecentEvents
from api.front import SOCKET_TIMEOUT_S, STORE_S, FrontDoor
from api.http import problems
from api.http.middleware import Tracing
from api.http.queries import only_known
from api.keys.auth import is_loopback
from api.keys.keys import KeyStore
from api.reference import docs, openapi
from api.routes import (
    completion,
    dead,
    deliveries,
    fleet,
    health,
    infrastructure,
    job_events,
    jobs,
    providers,
    webhooks,
)
from api.streams import StreamPlaces
from api.waiting import Waiters
from api.webhooks.desk import WebhookDesk
from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.config_core import CoreConfig, Settings
from infrastructure.core.error_core import ConfigError, StoreError
from infrastructure.core.logger_core import get_logger
from infrastructure.core.performance_core import Observation
from infrastructure.core.performance_core.observing import observe
from infrastructure.core.redis_core import connect
from infrastructure.core.service_secret import hmac_secret
from infrastructure.optional.container_core import Recovery, Registry
from infrastructure.optional.event_core import EventBus
from infrastructure.optional.service_discovery import Directory, Registration, own_description
from workers.jobs.bell import Bell
from workers.jobs.config_events import announced
from workers.jobs.store.dead_letters import DeadLetters
from workers.jobs.store.job_store import JobStore
from workers.jobs.webhooks.endpoints import EndpointStore
from workers.jobs.webhooks.guard import Guard, SystemLookup
from workers.jobs.webhooks.outbox import Outbox

GUARD_S = 1.0
STOP_BELL_S = 1.0


def create_app(
    settings: Settings, *, config: CoreConfig | None = None, on_open_door: Callable[[], None] | None = None
) -> FastAPI:
    """Return the application. Redis may come later: until then it lives, is not ready, and answers 503.

    `config` is where each request takes the settings that hold then; None: `settings` hold for ever. `on_open_door` is called when it turns out that the service listens on a public address and no API key was ever made
    (such a service lets nobody in).

    Raises:
        ConfigError: there is no Redis URL, or the secret of the API keys cannot be had.
    """
    front = _front_door(settings, config)
    app = FastAPI(
        title="AI Provider",
        version=settings.service.version or "0",
        lifespan=_lifespan(front, config, on_open_door),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.front = front
    tracker, errors = front.observation.tracker, front.observation.errors
    app.add_middleware(Tracing, log=get_logger(settings.service.name, "http"), tracker=tracker, errors=errors)
    problems.install(app, errors)
    parts = (completion, jobs, job_events, dead, webhooks, deliveries, infrastructure, fleet, providers, health, docs)
    for part in parts:
        app.include_router(part.router, dependencies=[Depends(only_known)])
    openapi.install(app)
    return app


def _front_door(settings: Settings, config: CoreConfig | None) -> FrontDoor:
    if settings.redis.url is None:
        raise ConfigError(
            ["redis.url: expected a URL (REDIS_URL); only `ai-provider up` and `demo` start an embedded server"]
        )
    url, prefix = settings.redis.url.get_secret_value(), settings.redis.prefix
    redis = connect(
        url, max_connections=settings.redis.max_connections, wait_s=STORE_S, socket_timeout_s=SOCKET_TIMEOUT_S
    )
    parts = Registry(log=get_logger(settings.service.name, "container"))
    # In the order of their start; they stop in the reverse of it.
    parts.register_value(Redis, redis, name="redis", stop=Redis.aclose, ping=Redis.ping)
    secret = hmac_secret(settings)
    keys = KeyStore(redis, prefix=prefix, secret=secret)
    parts.register_value(KeyStore, keys, start=KeyStore.start, stop=KeyStore.stop)
    told = {"caching": lambda: {"keys": keys.cache.get_mergeable_stats()}}
    observation = parts.register_value(
        Observation, observe(settings, redis, kind="web", sections=told), start=Observation.start, stop=Observation.stop
    )
    bell = parts.register_value(
        Bell, Bell(settings), start=Bell.start, stop=_stop_bell, lives=Bell.ping, recovery=Recovery()
    )
    waiters = Waiters(redis, prefix=prefix, log=get_logger(settings.service.name, "waiting"))
    parts.register_value(
        Waiters, waiters, name="subscription", start=Waiters.start, stop=Waiters.stop,
        ping=Waiters.ping, lives=Waiters.lives, recovery=Recovery(),
    )  # fmt: skip
    events = EventBus(observation.instance, redis=redis, prefix=prefix, log=get_logger(settings.service.name, "events"))
    parts.register_value(
        EventBus, events, start=EventBus.start, stop=EventBus.stop, lives=EventBus.ping, recovery=Recovery()
    )
    recent = RecentEvents()
    events.subscribe("#", recent.keep)
    directory = Directory(redis, prefix=prefix)
    described = own_description(settings, kind="web", instance=observation.instance, port=settings.service.port)
    registration = Registration(
        directory, described, fresh=lambda: {"config": (config.settings if config else settings).version}
    )
    parts.register_value(
        Registration, registration,
        start=Registration.start, stop=Registration.stop, lives=Registration.ping, recovery=Recovery(),
    )  # fmt: skip
    return FrontDoor(
        settings=settings,
        latest=None if config is None else lambda: config.settings,
        redis=redis,
        store=JobStore(redis, prefix=prefix, result_ttl_s=settings.jobs.result_ttl_s),
        dead=DeadLetters(redis, prefix=prefix, result_ttl_s=settings.jobs.result_ttl_s),
        keys=keys,
        admission=Admission(observation.tracker),
        waiters=waiters,
        bell=bell,
        observation=observation,
        parts=parts,
        events=events,
        recent=recent,
        streams=StreamPlaces(),
        directory=directory,
        webhooks=WebhookDesk(
            endpoints=EndpointStore(redis, prefix=prefix),
            outbox=Outbox(redis, prefix=prefix),
            guard=Guard(lambda: (config.settings if config else settings).webhooks, lookup=SystemLookup()),
            secret=secret,
        ),
    )


async def _stop_bell(bell: Bell) -> None:
    await asyncio.to_thread(bell.stop, timeout_s=STOP_BELL_S)


def _lifespan(
    front: FrontDoor, config: CoreConfig | None, on_open_door: Callable[[], None] | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with front.parts:
            with announced(config, front.events.publish):
                watch = on_open_door is not None and not is_loopback(front.settings.service.host)
                guard = asyncio.create_task(_guard(front.keys, on_open_door)) if watch and on_open_door else None
                try:
                    yield
                finally:
                    if guard is not None:
                        await end_tasks([guard])

    return lifespan


async def _guard(keys: KeyStore, on_open_door: Callable[[], None]) -> None:
    """Once Redis answers, see whether there is a key; without one a public address must not be served."""
    while True:
        try:
            exist = await keys.exist()
        except StoreError:
            await asyncio.sleep(GUARD_S)
            continue
        if not exist:
            on_open_door()
        return
