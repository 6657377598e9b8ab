"""What is known of one request, from its first byte to its line in the log."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

KEY = "aip.trace"


@dataclass(slots=True)
class Trace:
    """What the log line of a request tells, filled in as it becomes known."""

    request_id: str
    status: int = 0
    streams: bool = False
    """Its answer goes on for minutes by design: what is measured is the time to its first byte."""


def trace_of(scope: Scope) -> Trace:
    """Return the trace of the request that a scope belongs to."""
    trace: Trace = scope[KEY]
    return trace
