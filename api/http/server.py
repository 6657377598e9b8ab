"""uvicorn as this service runs it: request heads bounded in bytes and time, an orderly end within seconds."""

from __future__ import annotations

import asyncio
import resource
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BACKLOG = 4_096
GRACE_S = 4
KEEP_ALIVE_S = 65  # longer than the longest wait, so that a client's pool keeps its connection
HEAD_S = 15.0
HEAD_BYTES = 65_536
STUCK_S = 60.0  # a reader that takes nothing of what waits for it


class HeadTooLong(Exception):
    """A request's line and headers are longer than they may be."""


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 in which a request's head may not grow for ever nor take for ever: uvicorn bounds neither."""

    _head_bytes = 0
    _loose_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _stuck_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEAD_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._stop_timer()
        self._stop_stuck_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, as long as something comes to an end now and then.

        The parser joins the pieces of an unfinished header or trailer each time one comes: an endless one would cost time
        without bound, and hold up everybody.
        """
        self._loose_bytes += len(data)
        super().data_received(data)
        if self._loose_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body."""
        self._loose_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._loose_bytes = 0
        super().on_message_complete()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._head_bytes = 0
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self.transport.close)

    def on_url(self, url: bytes) -> None:
        """Count the line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        self._loose_bytes = 0
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a head."""
        self._loose_bytes = 0
        self._stop_timer()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Give a reader that is behind a minute to take something."""
        super().pause_writing()
        self._stop_stuck_timer()
        self._stuck_timer = self.loop.call_later(STUCK_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Let a reader that has caught up go on."""
        super().resume_writing()
        self._stop_stuck_timer()

    def _stop_stuck_timer(self) -> None:
        if self._stuck_timer is not None:
            self._stuck_timer.cancel()
            self._stuck_timer = None

    def _count(self, length: int) -> None:
        self._head_bytes += length
        if self._head_bytes > HEAD_BYTES:
            raise HeadTooLong

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Server(uvicorn.Server):
    """uvicorn's server, which tells the application of its end before it waits for the last answers."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=BoundedProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=BACKLOG,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer those who wait for jobs, then end as uvicorn does."""
        self._app.state.front.waiters.release()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in order at the first signal and at once at the second.

        uvicorn's own hears a second SIGTERM as the first, and dies of the signal afterwards.
        """
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening address.

    Raises:
        OSError: the address is taken, unknown or not allowed.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def raise_file_limit() -> None:
    """Let this process hold as many connections as the system allows it; a wait is a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
