"""One attempt of a delivery over HTTP: what was sent, how long it took, and what came of it as a class."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from infrastructure.core.asyncio_core import within
from workers.jobs.webhooks.guard import AddressRefused, Guard, Unresolved
from workers.jobs.webhooks.schedule import retry_after_s
from workers.jobs.webhooks.urls import Target
from workers.webhooks.connector import guarded_connector

HEAD_BYTES = 4_096
"""Longest line of an answer's head; its body is not read at all."""
HEADERS = {
    "User-Agent": "ai-provider-webhooks/1",
    "Content-Type": "application/json",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
}
GONE = 410
GRACE_S = 1.0
_BY_STATUS_CLASS = {2: None, 3: "redirect"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of an attempt.

    `error` None: it was taken; else a class: timeout, unresolved, address_refused, unreachable, tls, bad_answer, redirect, gone, http_status.
    """

    status: int | None
    error: str | None
    latency_ms: int
    retry_after_s: float | None = None


class Sender:
    """Sends webhooks. Follows no redirect, uses no proxy, keeps no cookie and no connection. Used on one event loop."""

    def __init__(
        self, guard: Guard, *, tls: ssl.SSLContext | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._guard = guard
        self._tls = tls
        self._clock = clock
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def post(self, target: Target, body: bytes, headers: Mapping[str, str], *, timeout_s: float) -> Answer:
        """Send a body and return what came of it; whatever the other side does, it is an answer."""
        began_s = self._clock()
        status, asked_s, error = None, None, None
        try:
            status, asked_s = await within(self._exchange(target, body, headers, timeout_s), timeout_s + GRACE_S)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RuntimeError) as exc:
            error = failure_class(exc)  # RuntimeError: uvloop's, where others raise OSError
        if status is not None:
            error = _error_of(status)
        latency_ms = round(1_000 * (self._clock() - began_s))
        return Answer(status=status, error=error, latency_ms=latency_ms, retry_after_s=asked_s)

    async def close(self) -> None:
        """Close what is open."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def _exchange(
        self, target: Target, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, float | None]:
        request = self._session(plain=target.plain).post(
            URL(target.url, encoded=True),
            data=body,
            headers={**HEADERS, **headers},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        )
        async with request as answer:
            found = answer.status, retry_after_s(answer.headers.get("Retry-After"))
            answer.close()  # before anything of its body is waited for
            return found

    def _session(self, *, plain: bool) -> aiohttp.ClientSession:
        if plain not in self._sessions:
            self._tls = self._tls or ssl.create_default_context()
            self._sessions[plain] = aiohttp.ClientSession(
                connector=guarded_connector(self._guard, plain=plain, tls=self._tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                max_line_size=HEAD_BYTES,
                max_field_size=HEAD_BYTES,
                read_bufsize=HEAD_BYTES,
            )
        return self._sessions[plain]


def failure_class(exc: BaseException) -> str:
    """Return the class of what went wrong, never a text of the other side."""
    cause = getattr(exc, "os_error", None) or exc
    by_type: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
        (AddressRefused, "address_refused"),
        (Unresolved, "unresolved"),
        (asyncio.TimeoutError, "timeout"),
        ((ssl.SSLError, ssl.CertificateError), "tls"),
    )
    for one in (exc, cause):
        for kinds, name in by_type:
            if isinstance(one, kinds):
                return name
    if isinstance(exc, (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError)):
        return "tls"
    if isinstance(exc, aiohttp.ClientConnectorError):
        return "unreachable"
    return "bad_answer"


def _error_of(status: int) -> str | None:
    return "gone" if status == GONE else _BY_STATUS_CLASS.get(status // 100, "http_status")
