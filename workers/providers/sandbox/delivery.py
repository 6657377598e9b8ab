"""Delivery: how a reply goes out, whole, slowly, cut short, or not at all."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web

from workers.providers.sandbox.replies import Reply

LONGEST_HANG_S = 86_400
_SLICES = 20
_LINGER_NOT = struct.pack("ii", 1, 0)


def whole(reply: Reply) -> web.StreamResponse:
    """Return a plain reply for the server to send at once."""
    headers = {**reply.headers, "Content-Type": reply.content_type}
    return web.Response(status=reply.status, body=reply.parts[0], headers=headers)


async def spread(request: web.BaseRequest, reply: Reply, *, over_s: float = 0, cut: bool = False) -> web.StreamResponse:
    """Send a reply part by part over some seconds; `cut` ends the connection after half of the parts."""
    parts = reply.parts if reply.streamed else _slices(reply.parts[0])
    response = web.StreamResponse(status=reply.status, headers={**reply.headers, "Content-Type": reply.content_type})
    if not reply.streamed:
        response.content_length = len(reply.parts[0])
    await response.prepare(request)
    for part in parts[: len(parts) // 2] if cut else parts:
        await response.write(part)
        if over_s:
            await asyncio.sleep(over_s / len(parts))
    if cut and request.transport is not None:
        request.transport.close()
    return response


def _slices(body: bytes) -> list[bytes]:
    step = max(1, len(body) // _SLICES)
    return [body[at : at + step] for at in range(0, len(body), step)]


async def hang() -> web.StreamResponse:
    """Answer nothing until the client leaves or the sandbox stops: either cancels this."""
    await asyncio.sleep(LONGEST_HANG_S)
    return web.Response(status=504)


def reset(request: web.BaseRequest) -> web.StreamResponse:
    """End the connection with a TCP RST; the response returned finds nobody to go to."""
    transport = request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        transport.abort()
    return web.Response(status=500)
