"""A reader of server-sent events over real HTTP, which keeps every line it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from infrastructure.core.asyncio_core import end_tasks
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True)
class Event:
    id: int | None
    name: str
    data: dict[str, Any]


@dataclass(slots=True)
class Reader:
    """What one connection was told so far; `ended` once the server ended the answer in order."""

    events: list[Event] = field(default_factory=list)
    comments: int = 0
    retry_ms: int | None = None
    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    body: bytes = b""
    ended: bool = False
    broken: bool = False

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    @property
    def ids(self) -> list[int | None]:
        return [event.id for event in self.events]

    async def until(self, name: str, *, count: int = 1) -> None:
        """Wait until so many events of a name were told."""
        await eventually(lambda: self.names.count(name) >= count, within_s=30, what=f"{name} is told")

    async def until_end(self) -> None:
        await eventually(lambda: self.ended, within_s=30, what="the stream ends")


async def read_into(reader: Reader, client: httpx.AsyncClient, url: str, headers: dict[str, str]) -> None:
    """Read one connection to its end."""
    try:
        async with client.stream("GET", url, headers=headers) as response:
            reader.status, reader.headers = response.status_code, response.headers
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                reader.body = await response.aread()
            else:
                await _read_lines(reader, response)
            reader.ended = True
    except httpx.TransportError:
        reader.broken = True


async def _read_lines(reader: Reader, response: httpx.Response) -> None:
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line.startswith(":"):
            reader.comments += 1
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            if "retry" in fields:
                reader.retry_ms = int(fields["retry"])
            if "data" in fields:
                number = int(fields["id"]) if "id" in fields else None
                reader.events.append(Event(number, fields.get("event", "message"), json.loads(fields["data"])))
            fields = {}


@asynccontextmanager
async def reading(
    client: httpx.AsyncClient, job_id: str, *, after: int | None = None, **headers: str
) -> AsyncIterator[Reader]:
    """Read a job's events while the block runs; its head has come when the block begins."""
    reader = Reader()
    sent = {
        **{name.replace("_", "-"): value for name, value in headers.items()},
        **({} if after is None else {"Last-Event-ID": str(after)}),
    }
    task = asyncio.create_task(read_into(reader, client, f"/api/v1/jobs/{job_id}/events", sent))
    try:
        await eventually(lambda: reader.status or task.done())
        yield reader
    finally:
        await end_tasks([task])
