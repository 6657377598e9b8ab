"""Answers that go on as server-sent events (WHATWG HTML, 9.2): written by a coroutine, kept alive, bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.http.trace import trace_of
from api.waiting import while_connected
from infrastructure.core.asyncio_core import end_tasks, within

T = TypeVar("T")

MEDIA_TYPE = "text/event-stream"
HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx and its kin pass each event on at once
}
KEEP_ALIVE_S = 15.0
COMMENT = b":\n\n"


def event(data: bytes, *, name: str | None = None, number: int | None = None) -> bytes:
    """Return one event as it is sent. `data` is one line, as JSON is; `number` is what a reader goes on behind."""
    lines = [b"data: " + data]
    if name is not None:
        lines.insert(0, b"event: " + name.encode())
    if number is not None:
        lines.insert(0, b"id: %d" % number)
    return b"\n".join(lines) + b"\n\n"


def retry(delay_ms: int) -> bytes:
    """Return what tells a reader when to connect again once the stream has ended."""
    return b"retry: %d\n\n" % delay_ms


class Writer:
    """Where the events of one answer are written. A reader that is slow makes its own writer wait, and nobody else."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def write(self, *events: bytes) -> None:
        """Send some events in one piece."""
        await self._send({"type": "http.response.body", "body": b"".join(events), "more_body": True})

    async def meanwhile(self, work: Awaitable[T]) -> T:
        """Return what `work` gives; every 15 s until then the reader and all between are told that the stream lives."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=KEEP_ALIVE_S))[0]:
                await self.write(COMMENT)
            return task.result()
        finally:
            if not task.done():
                await end_tasks([task])


class EventStream(Response):
    """An answer that `write` goes on writing: until it returns, the reader is gone, or `longest_s` seconds have passed.

    `place` is held as long as the stream goes on; what it raises at its entry is the answer in place of the stream.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self, write: Callable[[Writer], Awaitable[None]], *, place: AbstractContextManager[object], longest_s: float
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._write = write
        self._place = place
        self._longest_s = longest_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, the events, and the end; to HEAD only the first."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        if scope["method"] == "HEAD":
            await send(start)
        else:
            with self._place:
                trace_of(scope).streams = True
                await send(start)
                await while_connected(receive, self._stream(send))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(self, send: Send) -> None:
        try:
            await within(self._write(Writer(send)), self._longest_s)
        except TimeoutError:
            return
