"""A front door under a steady stream of requests while its configuration is reloaded again and again, now and then badly."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse

from api.app import create_app
from api.front import front_of
from tests.support.configuration import Folder
from tests.support.front_door import BODY, SANDBOX

EVERY_TENTH = 10
SUBMIT_EVERY = 2  # the other requests ask what they see


@dataclass
class Seen:
    """What came of it."""

    statuses: Counter[int] = field(default_factory=Counter)
    mixed: list[Any] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    good: int = 0
    refused: int = 0
    slowest_ms: float = 0.0
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        """Return how many requests were answered."""
        return self.statuses.total()


def content(number: int) -> str:
    """Return a configuration in which several values tell the same number."""
    return (
        f"---\nlimits: {{messages: {number}, max_tokens: {number}}}\ncache: {{ttl: {number}}}\n"
        f"models: {{default: [sandbox/sandbox-small], seen: [openai/m-{number}]}}\n...\n"
    )


def _add_witness(app: FastAPI) -> None:
    """Add a route that looks at the settings at its beginning, after a pause, and at its end."""

    async def witness(request: Request) -> JSONResponse:
        looks = []
        for _ in range(3):
            settings = front_of(request.scope).settings
            looks.append([
                settings.limits.messages, settings.limits.max_tokens, settings.cache.ttl,
                int(settings.models["seen"][0].rpartition("-")[2]),
            ])  # fmt: skip
            await asyncio.sleep(0.02)
        return JSONResponse({"looks": looks, "version": settings.version})

    app.add_api_route("/witness", witness)


async def run(redis_url: str, root: Path, *, reloads: int, requests_per_s: float) -> Seen:
    """Reload so many times, every tenth time from a bad file, under so many requests a second."""
    folder, seen = Folder(root), Seen()
    folder.write(content(1_000))
    variables = {"REDIS_URL": redis_url, "AI_PROVIDER_DATA_DIR": str(root), "AI_PROVIDER_SANDBOX_URL": SANDBOX}
    config = folder.config(variables)
    config.reloader.keep_fixed()
    app = create_app(config.settings, config=config)
    _add_witness(app)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=30) as client:
            stopping = asyncio.Event()
            began = time.monotonic()
            stream = asyncio.create_task(_stream(client, seen, requests_per_s, stopping))
            await asyncio.to_thread(_reload, folder, config.reloader, reloads, seen)
            stopping.set()
            await stream
            seen.seconds = time.monotonic() - began
    return seen


def _reload(folder: Folder, reloader: Any, reloads: int, seen: Seen) -> None:
    for number in range(1, reloads + 1):
        bad = number % EVERY_TENTH == 0
        folder.write("---\nlimits: {messages: 0}\n...\n" if bad else content(1_000 + number))
        if reloader.reload():
            seen.good += 1
        else:
            seen.refused += 1


async def _stream(client: httpx.AsyncClient, seen: Seen, per_s: float, stopping: asyncio.Event) -> None:
    """Send a request every 1/per_s seconds, whatever the earlier ones take."""
    running: set[asyncio.Task[None]] = set()
    began, number = time.monotonic(), 0
    while not stopping.is_set():
        task = asyncio.create_task(_request(client, seen, number))
        running.add(task)
        task.add_done_callback(running.discard)
        number += 1
        await asyncio.sleep(max(0.0, began + number / per_s - time.monotonic()))
    await asyncio.gather(*running)


async def _request(client: httpx.AsyncClient, seen: Seen, number: int) -> None:
    began = time.monotonic()
    if number % SUBMIT_EVERY:
        answer = await client.post("/api/v1/completion", json=BODY)
    else:
        answer = await client.get("/witness")
        told = answer.json()
        seen.versions.add(told["version"])
        if len({value for look in told["looks"] for value in look}) != 1:
            seen.mixed.append(told)
    seen.statuses[answer.status_code] += 1
    seen.slowest_ms = max(seen.slowest_ms, (time.monotonic() - began) * 1000)
