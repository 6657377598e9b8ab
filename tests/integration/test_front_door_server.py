"""Clients that are slow on purpose: their heads and bodies are waited for only so long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from api.http import body, server
from api.http.server import BoundedProtocol
from infrastructure.core.config_core.settings import Limits
from infrastructure.core.error_core import BodyTooLarge
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
HEADERS = [(b"content-type", b"application/json")]
MOST = 65_536_000
ended: list[bool] = []


async def hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/endless":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(MOST // 65_536):
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        ended.append(True)
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(server, "HEAD_S", 0.2)
    monkeypatch.setattr(server, "STUCK_S", 0.3)
    ended.clear()
    config = uvicorn.Config(hello, lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    listener = await asyncio.get_running_loop().create_server(
        lambda: BoundedProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    yield listener.sockets[0].getsockname()[1]
    listener.close()
    for connection in list(state.connections):
        connection.shutdown()
    await listener.wait_closed()


async def closes(port: int, *sent: bytes) -> bytes:
    """Send and go on reading until the server closes; return what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in sent:
        writer.write(piece)
        await writer.drain()
    said = await asyncio.wait_for(reader.read(), 15)
    writer.close()
    await writer.wait_closed()
    return said


@pytest.mark.parametrize("sent", [(), (b"GET / HT",), (b"GET / HTTP/1.1\r\nHost: a\r\nX: ",)])
async def test_a_head_that_does_not_come_ends_the_connection(port: int, sent: tuple[bytes, ...]) -> None:
    assert await closes(port, *sent) == b""


async def test_a_second_head_on_the_same_connection_is_timed_too(port: int) -> None:
    said = await closes(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nX: ")
    assert said.count(b"200 OK") == 1


async def test_a_whole_head_is_not_cut_off_while_it_is_served(port: int) -> None:
    said = await closes(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert said.endswith(b"ok")


async def test_a_body_that_does_not_come_is_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "READ_S", 0.05)
    pieces = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive() -> Any:
        if piece := next(pieces, None):
            return piece
        return await asyncio.get_running_loop().create_future()

    with pytest.raises(body.BodyTooSlow, match=r"within 0\.05 seconds"):
        await body.read_json({"headers": HEADERS}, receive, Limits())


async def test_draining_a_refused_body_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "DRAIN_BYTES", 1_000_000)
    read = 0

    async def receive() -> Any:
        nonlocal read
        read += 100_000
        return {"type": "http.request", "body": b"x" * 100_000, "more_body": True}

    with pytest.raises(BodyTooLarge):
        await body.read_json({"headers": [*HEADERS, (b"content-length", b"99999999999")]}, receive, Limits())
    assert read == 1_000_000


@pytest.mark.parametrize("start", [b"X: ", b"X", b"Transfer-Encoding: chunked\r\n\r\n0\r\nT: "])
async def test_a_header_or_trailer_without_end_is_cut_off(port: int, start: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + start)
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 20_000_000 and not reader.at_eof():
            writer.write(b"a" * 65_536)
            await writer.drain()
            sent += 65_536
    writer.close()

    assert sent < 20_000_000


async def test_a_reader_that_takes_nothing_is_cut_off(port: int) -> None:
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stuck.settimeout(0)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stuck, ("127.0.0.1", port))
        await loop.sock_sendall(stuck, b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: ended, what="the server has given the connection up")


async def test_a_reader_that_takes_a_little_now_and_then_is_not_cut_off(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
    read = 0
    while read < MOST:
        piece = await asyncio.wait_for(reader.read(1_000_000), 5)
        assert piece
        read += len(piece)
    writer.close()
    await writer.wait_closed()
