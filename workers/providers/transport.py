"""The HTTP transport under LiteLLM: one pool of connections for all providers, and no request sent twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from workers.providers.heard import Heard, tell_answer, tell_asked

MOST_BODY_BYTES = 32_000_000
KEEPALIVE_S = 60
DNS_CACHE_S = 300


class _Bounded(httpx.AsyncByteStream):
    """A body that breaks off when it passes the bound: an endless one would fill the worker's memory."""

    def __init__(self, inner: httpx.AsyncByteStream, heard: Heard | None) -> None:
        self._inner = inner
        self._heard = heard

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body.

        Raises:
            httpx.ReadError: it is too long.
        """
        seen = 0
        async for piece in self._inner:
            seen += len(piece)
            if seen > MOST_BODY_BYTES:
                raise httpx.ReadError(f"expected a body of at most {MOST_BODY_BYTES} bytes, got a longer one")
            if self._heard is not None:
                self._heard.add(piece)
            yield piece

    async def aclose(self) -> None:
        """Close the body."""
        await self._inner.aclose()


class SendOnce(httpx.AsyncBaseTransport):
    """A transport whose failures to connect look like failures to read.

    LiteLLM's HTTP client sends a POST a second time, unasked and uncounted, when the first ends in a `ConnectError` or
    a `RemoteProtocolError` (a TCP reset after the request was read is one of them). It lets a `ReadError` through.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request once.

        Raises:
            httpx.ReadError: no connection, or it was lost; without the host, which the job's owner need not know.
        """
        heard = tell_asked()
        try:
            response = await self._inner.handle_async_request(request)
        except (httpx.NetworkError, httpx.RemoteProtocolError) as exc:
            raise httpx.ReadError("the connection to the provider failed", request=request) from exc
        if heard is not None:
            tell_answer(heard, response.status_code, response.headers.raw)
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _Bounded(response.stream, heard)
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()
