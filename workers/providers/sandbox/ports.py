"""Ports of the instances' own, opened and closed while the sandbox runs; a closed one refuses to be connected to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from aiohttp import web

BACKLOG = 4_096
BIND_TRIES = 400
BIND_AGAIN_S = 0.005


class _Port:
    """A port of one instance. While it is closed a bound socket that nobody listens on keeps its number for us."""

    def __init__(self, server: web.Server, *, host: str) -> None:
        self._server = server
        self._host = host
        self._held: socket.socket | None = _bound(host, 0)
        self._listener: asyncio.AbstractServer | None = None
        self.number: int = self._held.getsockname()[1]

    async def open(self) -> None:
        if self._listener is None and self._held is not None:
            loop = asyncio.get_running_loop()
            self._held.setblocking(False)  # noqa: FBT003  the standard library's own form
            self._listener = await loop.create_server(self._server, sock=self._held, backlog=BACKLOG)
            self._held = None

    async def close(self, *, keep: bool = True) -> None:
        """Refuse connections from now on and cut off what is connected; `keep` holds the number for a later `open`."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            for connection in list(self._server.connections):
                if connection.transport is not None:
                    connection.transport.abort()
            self._held = await _bound_again(self._host, self.number)
        if not keep and self._held is not None:
            self._held.close()
            self._held = None


class Ports:
    """The ports by instance. `serve` makes the protocol factory of an instance."""

    def __init__(self, serve: Callable[[str], web.Server], *, host: str = "127.0.0.1") -> None:
        self._serve = serve
        self._host = host
        self._ports: dict[str, _Port] = {}
        self._changing = asyncio.Lock()

    async def apply(self, name: str, wanted: str) -> None:
        """Bring an instance's port to `open`, `closed` or `none`."""
        async with self._changing:
            if wanted == "none":
                if port := self._ports.pop(name, None):
                    await port.close(keep=False)
                return
            if name not in self._ports:
                self._ports[name] = _Port(self._serve(name), host=self._host)
            port = self._ports[name]
            await (port.open() if wanted == "open" else port.close())

    async def close(self) -> None:
        """Close all of them for good."""
        for name in list(self._ports):
            with contextlib.suppress(OSError):
                await self.apply(name, "none")

    def shown(self) -> dict[str, Any]:
        """Return the base URL of each instance that has a port, open or not."""
        return {name: f"http://{self._host}:{port.number}" for name, port in sorted(self._ports.items())}


def _bound(host: str, number: int) -> socket.socket:
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((host, number))
    except OSError:
        held.close()
        raise
    return held


async def _bound_again(host: str, number: int) -> socket.socket:
    """Return a socket bound to the port of a listener that is being closed: the loop does that in its next rounds."""
    for _ in range(BIND_TRIES):
        try:
            return _bound(host, number)
        except OSError:
            await asyncio.sleep(BIND_AGAIN_S)
    return _bound(host, number)
