"""The HTTP transport under LiteLLM: one pool of connections for all providers, and no request sent twice."""

from __future__ import annotations

import httpx

KEEPALIVE_S = 60
DNS_CACHE_S = 300


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
        try:
            return await self._inner.handle_async_request(request)
        except (httpx.NetworkError, httpx.RemoteProtocolError) as exc:
            raise httpx.ReadError("the connection to the provider failed", request=request) from exc

    async def aclose(self) -> None:
        """Close every connection."""
        await self._inner.aclose()
