"""The FastAPI application: its parts made, started and stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress

from fastapi import FastAPI

from api.front import SOCKET_TIMEOUT_S, STORE_S, FrontDoor
from api.http import problems
from api.http.middleware import Tracing
from api.keys.auth import is_loopback
from api.keys.keys import KeyStore
from api.keys.secret import hmac_secret
from api.reference import docs, openapi
from api.routes import completion, health, jobs
from api.waiting import Waiters
from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import ConfigError, StoreError
from infrastructure.core.logger_core import get_logger
from infrastructure.core.redis_core import connect
from workers.jobs.bell import Bell
from workers.jobs.store.job_store import JobStore

GUARD_S = 1.0
STOP_BELL_S = 1.0


def create_app(settings: Settings, *, on_open_door: Callable[[], None] | None = None) -> FastAPI:
    """Return the application. Redis may come later: until then it lives, is not ready, and answers 503.

    `on_open_door` is called when it turns out that the service listens on a public address and no API key was ever made
    (such a service lets nobody in).

    Raises:
        ConfigError: there is no Redis URL, or the secret of the API keys cannot be had.
    """
    front = _front_door(settings)
    app = FastAPI(
        title="AI Provider",
        version=settings.service.version or "0",
        lifespan=_lifespan(front, on_open_door),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.front = front
    app.add_middleware(Tracing, log=get_logger(settings.service.name, "http"))
    problems.install(app)
    for part in (completion, jobs, health, docs):
        app.include_router(part.router)
    openapi.install(app)
    return app


def _front_door(settings: Settings) -> FrontDoor:
    if settings.redis.url is None:
        raise ConfigError(
            ["redis.url: expected a URL (REDIS_URL); only `ai-provider up` and `demo` start an embedded server"]
        )
    url, prefix = settings.redis.url.get_secret_value(), settings.redis.prefix
    redis = connect(
        url, max_connections=settings.redis.max_connections, wait_s=STORE_S, socket_timeout_s=SOCKET_TIMEOUT_S
    )
    return FrontDoor(
        settings=settings,
        redis=redis,
        store=JobStore(redis, prefix=prefix, result_ttl_s=settings.jobs.result_ttl_s),
        keys=KeyStore(redis, prefix=prefix, secret=hmac_secret(settings)),
        waiters=Waiters(redis, prefix=prefix, log=get_logger(settings.service.name, "waiting")),
        bell=Bell(settings),
    )


def _lifespan(
    front: FrontDoor, on_open_door: Callable[[], None] | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(front.redis.aclose)
            front.bell.start()
            stack.push_async_callback(asyncio.to_thread, front.bell.stop, timeout_s=STOP_BELL_S)
            front.waiters.start()
            stack.push_async_callback(front.waiters.stop)
            if on_open_door is not None and not is_loopback(front.settings.service.host):
                stack.push_async_callback(_cancelled, asyncio.create_task(_guard(front.keys, on_open_door)))
            yield

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


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
