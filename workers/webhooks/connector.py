"""Connections of webhooks: to addresses that the guard has judged, each one judged again as its socket is made."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from workers.jobs.webhooks.guard import Guard

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]


class _GuardedResolver(AbstractResolver):
    """Resolves by the guard: a name with one bad address has none.

    The connection goes to what it returns; the name stays in SNI, in the certificate's check and in Host.
    """

    def __init__(self, guard: Guard, *, plain: bool) -> None:
        self._guard = guard
        self._plain = plain

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host."""
        found = await self._guard.addresses(host, plain=self._plain)
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)
            for address in found
        ]

    async def close(self) -> None:
        """Do nothing: the guard is its maker's."""


def guarded_connector(guard: Guard, *, plain: bool, tls: ssl.SSLContext) -> TCPConnector:
    """Return a connector that opens a new connection for every request, and keeps no name in mind.

    Addresses in URLs never reach a resolver; they too meet the guard where the socket is made.
    """

    def make_socket(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        guard.check(str(address[0]), plain=plain)
        return socket.socket(family, kind, protocol)

    return TCPConnector(
        resolver=_GuardedResolver(guard, plain=plain),
        use_dns_cache=False,
        force_close=True,
        limit=0,  # how many there are is the sender's business
        ssl=tls,
        socket_factory=make_socket,
    )
