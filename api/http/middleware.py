"""Around every request: its id, one line in the log, and an answer even where the code has a defect."""

from __future__ import annotations

import re
import secrets
import time
from contextlib import ExitStack
from itertools import count

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import render
from api.http.trace import KEY, Trace, trace_of
from infrastructure.core.error_core import INTERNAL_HTTP_MESSAGE, ErrorHandler, InternalError
from infrastructure.core.logger_core import CoreLogger, bound_contextvars
from infrastructure.core.logger_core.secret_shapes import looks_random_for_an_id, looks_secret
from infrastructure.core.performance_core import PerformanceTracker
from infrastructure.core.performance_core.operations import REQUEST, named

CLIENT_GONE = 499  # nobody reads it; the log does
DEFECT = 500
_SANE = re.compile(rb"[A-Za-z0-9._:-]{1,128}\Z")


class Tracing:
    """Middleware: gives each request an id (the caller's own `X-Request-Id` where it is sane), logs and measures it once.

    Bodies and query strings stay out of the log, and of a defect only its type and place get there.
    """

    def __init__(self, app: ASGIApp, *, log: CoreLogger, tracker: PerformanceTracker, errors: ErrorHandler) -> None:
        self._app = app
        self._log = log
        self._tracker = tracker
        self._errors = errors
        # Ids need to be different, not secret: one draw for the process, then a count, saves a system call a request.
        self._process = secrets.token_hex(6)
        self._count = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = scope[KEY] = Trace(_request_id(scope) or f"req_{self._process}{next(self._count):08x}")
        header = (b"x-request-id", trace.request_id.encode("ascii"))
        started, measured = time.perf_counter(), ExitStack()

        async def traced(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
                if trace.streams:
                    measured.close()
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        with bound_contextvars(request_id=trace.request_id, tenant=None, job_id=None):  # bound where they become known
            try:
                with measured:
                    measured.enter_context(self._tracker.track_operation(REQUEST))
                    measured.callback(self._count_route, scope, trace, started)
                    await self._served(scope, receive, traced)
            finally:
                self._tell(scope, trace, 1_000 * (time.perf_counter() - started))

    async def _served(self, scope: Scope, receive: Receive, send: Send) -> None:
        trace = trace_of(scope)
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            trace.status = CLIENT_GONE
        except Exception as exc:  # noqa: BLE001  the last resort: whatever it was, the client gets an answer
            self._errors.handle(exc, {"method": scope["method"]})
            self._log.error("Request failed by a defect", exc=exc)
            if not trace.status:
                await render(InternalError(INTERNAL_HTTP_MESSAGE), trace.request_id)(scope, receive, send)

    def _count_route(self, scope: Scope, trace: Trace, started: float) -> None:
        error = f"http_{trace.status}" if trace.status >= DEFECT else None
        duration_ms = 1_000 * (time.perf_counter() - started)
        self._tracker.track_operation(named(REQUEST, f"{scope['method']}.{_route(scope)}"), duration_ms, error=error)

    def _tell(self, scope: Scope, trace: Trace, duration_ms: float) -> None:
        self._log.log_request(scope["method"], _route(scope), trace.status, round(duration_ms, 2))


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", "-"))


def _request_id(scope: Scope) -> str | None:
    """Return the caller's id for its request, None where there is none that can be repeated safely."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given: bytes = value
            return given.decode("ascii") if _SANE.match(given) and not _is_key(given.decode("ascii")) else None
    return None


def _is_key(text: str) -> bool:
    return looks_secret(text) or looks_random_for_an_id(text)
